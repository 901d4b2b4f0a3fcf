"""FSDP's settings, and what it does not go with."""

import pytest
from known import H100, T4, facts, inputs, spec

from entrypoint.plan import plan_train
from schemas.errors import UsageError


def test_settings_have_reasons_and_reach_the_job() -> None:
    plan = plan_train(spec("hardware: {strategy: fsdp}\n"), facts(H100, H100), inputs())
    job = plan.steps[0].job
    assert job.stage == "train"
    assert job.engine == {"wrap": "each decoder layer", "reshard_after_forward": True, "param_dtype": "bf16", "reduce_dtype": "fp32"}
    assert all(setting.why for setting in plan.engine)
    assert "torch.distributed.run" in " ".join(plan.steps[0].argv) or job.ranks == 2


@pytest.mark.parametrize(
    ("text", "card", "what"),
    [
        ("adapter: {kind: qlora}\nhardware: {strategy: fsdp}\n", H100, "fsdp cannot shard 4-bit weights"),
        ("hardware: {strategy: fsdp}\n", T4, "fsdp does not scale losses, which fp16 needs"),
        ("hardware: {strategy: fsdp, offload: cpu}\n", H100, "offload: cpu is DeepSpeed's, so fsdp does not go with it"),
    ],
)
def test_what_it_does_not_go_with(text: str, card: object, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        plan_train(spec(text), facts(card, card), inputs())  # type: ignore[arg-type]
