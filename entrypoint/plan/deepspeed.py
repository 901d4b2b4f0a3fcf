"""What DeepSpeed is told, value by value with its reason."""

from typing import Any

from entrypoint.plan.load import Load
from entrypoint.plan.memory import BUCKET
from schemas.plan import Setting

LIVE = 1_000_000_000
"""DeepSpeed's own limit of gathered weights, for a model whose layers cannot be counted."""

PERSISTENT = 100_000
"""DeepSpeed's default: weights of fewer elements are not cut up."""

STAGES = {
    1: "each process keeps the optimizer of its share of the weights",
    2: "each process keeps gradients and optimizer of its share of the weights",
    3: "each process keeps only its share of weights, gradients and optimizer",
}


def deepspeed(load: Load, micro_batch: int, accumulation: int, max_grad_norm: float, *, live: int | None = None, pin: bool = False) -> tuple[Setting, ...]:
    """Settings of a zero strategy; none for the others. `live`: weights that may be gathered at once, where the model's layers are known."""
    if not load.strategy.startswith("zero"):
        return ()
    sized = f"{BUCKET / 1e6:.0f} million elements: large enough for full speed of the links, small beside the model"
    stage = int(load.strategy[-1])
    told: list[tuple[str, bool | int | float | str, str]] = [
        ("zero_optimization.stage", stage, STAGES[stage]),
        ("zero_optimization.overlap_comm", True, "gradients are reduced while the backward pass goes on"),
        ("zero_optimization.contiguous_gradients", True, "gradients are copied into one buffer as they come: memory is not cut into pieces"),
        ("zero_optimization.reduce_bucket_size", BUCKET, sized),
        *(_stage_3(live) if stage == 3 else _stage_1_2(sized)),
        *(_offload(stage, pin, load.offload) if load.offload != "none" else ()),
        ("bf16.enabled", load.precision == "bf16", f"the run's precision is {load.precision}"),
        ("fp16.enabled", load.precision == "fp16", f"the run's precision is {load.precision}"),
        ("zero_allow_untested_optimizer", True, "the optimizer is torch's own AdamW, as it is without DeepSpeed"),
        ("gradient_clipping", max_grad_norm, "train.max_grad_norm"),
        ("train_micro_batch_size_per_gpu", micro_batch, "as planned: rows that a process computes at once"),
        ("gradient_accumulation_steps", accumulation, "as planned: micro-batches of a step"),
    ]
    return tuple(Setting(path=path, value=value, why=why) for path, value, why in told)


def _stage_1_2(sized: str) -> list[tuple[str, bool | int, str]]:
    return [
        ("zero_optimization.allgather_partitions", True, "new weights are gathered in buckets, not parameter by parameter"),
        ("zero_optimization.allgather_bucket_size", BUCKET, sized),
    ]


def _stage_3(live: int | None) -> list[tuple[str, bool | int, str]]:
    why = "a layer that computes, the next one, and the input table or the head" if live else "DeepSpeed's default: the model's layers are not known"
    return [
        ("zero_optimization.stage3_prefetch_bucket_size", BUCKET // 4, "the next weights are gathered while a layer computes"),
        ("zero_optimization.stage3_max_live_parameters", live or LIVE, f"{why}; the memory estimate counts with it"),
        ("zero_optimization.stage3_max_reuse_distance", live or LIVE, "weights that are used again sooner stay gathered"),
        ("zero_optimization.stage3_param_persistence_threshold", PERSISTENT, "norms and biases: a message costs more than their copies"),
        ("zero_optimization.stage3_gather_16bit_weights_on_model_save", True, "what is saved is a plain model or adapter"),
    ]


def _offload(stage: int, pin: bool, where: str) -> list[tuple[str, bool | str, str]]:
    pinned = "page-locked memory is copied at full speed" if pin else "page-locked memory is rounded up to powers of two: there is no room for that, or no GPU"
    place, end = "the host's memory", ""
    if where == "nvme":
        pin, pinned = False, "files cannot be page-locked"
        place, end = "files", "; they are mapped as the host's memory: DeepSpeed's own nvme loses write errors (docs/decisions/005-offload.md)"
    told: list[tuple[str, bool | str, str]] = [
        ("zero_optimization.offload_optimizer.device", "cpu", f"hardware.offload: fp32 weights and moments lie in {place}, the step runs on the CPU{end}"),
        ("zero_optimization.offload_optimizer.pin_memory", pin, pinned),
    ]
    if stage == 3:
        told += [
            ("zero_optimization.offload_param.device", "cpu", f"hardware.offload: weights lie in {place} and come layer by layer"),
            ("zero_optimization.offload_param.pin_memory", pin, pinned),
        ]
    return [
        *told,
        ("zero_force_ds_cpu_optimizer", False, "torch's AdamW steps on the CPU: DeepSpeed's own would be compiled at the start of a run"),
    ]


def nested(settings: tuple[Setting, ...]) -> dict[str, Any]:
    """The settings as the engine reads them."""
    found: dict[str, Any] = {}
    for setting in settings:
        *outer, last = setting.path.split(".")
        place = found
        for key in outer:
            place = place.setdefault(key, {})
        place[last] = setting.value
    return found
