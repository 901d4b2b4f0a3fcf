"""What torch's FSDP2 is told, value by value with its reason."""

from entrypoint.plan.load import Load
from schemas.plan import Setting


def fully_shard(load: Load) -> tuple[Setting, ...]:
    """Settings of fsdp; none for the others."""
    if load.strategy != "fsdp":
        return ()
    told: list[tuple[str, bool | str, str]] = [
        ("wrap", "each decoder layer", "a layer's weights are gathered while it computes; the next one's come meanwhile"),
        ("reshard_after_forward", True, "and given back: they are gathered once more in the backward pass, for a layer's memory instead of the model's"),
        ("param_dtype", load.precision, f"the run's precision is {load.precision}: that much goes over the links"),
        ("reduce_dtype", "fp32", "a sum over many processes in 16 bits loses what small gradients add"),
    ]
    return tuple(Setting(path=path, value=value, why=why) for path, value, why in told)
