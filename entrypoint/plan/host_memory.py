"""Bytes of all ranks in the host's memory and in files, and of what an engine serves."""

from entrypoint.plan.load import BYTES, Load, base_bytes, optimizer_bytes, trained_weights
from entrypoint.plan.model_shape import ModelShape

CACHE_BYTES = {"bf16": 2.0, "fp8": 1.0, "int8": 1.0, "int4": 0.5}
"""Of an element of a key or a value, without scales."""


def host_bytes(shape: ModelShape, load: Load) -> dict[str, float]:
    """Bytes by term in the host's memory, over all ranks, beside what lies where a rank computes."""
    trained, width = trained_weights(shape, load), BYTES[load.precision]
    if load.offload == "nvme":
        # DeepSpeed makes them in memory; then they move into files. The sum over micro-batches stays.
        terms = {"fp32 weights, at the start": 4.0 * trained, "gradients": (4.0 + width) * trained}
        return terms | ({"weights, at the start": float(width * shape.parameters)} if load.strategy == "zero3" else {})
    # Weights and optimizer of a checkpoint, copied while the training goes on; each rank writes its share.
    terms = {"checkpoint copy": 4.0 * trained + optimizer_bytes(shape, load)}
    if load.strategy == "fsdp":  # each rank reads the whole model before it keeps its share; long before the first checkpoint
        terms["whole weights, at the start"] = max(0.0, load.ranks * base_bytes(shape, load) - terms["checkpoint copy"])
    if load.offload == "none":
        return terms
    # DeepSpeed's optimizer: fp32 weights and two moments, the gradient of a step in fp32 and the sum over micro-batches before it.
    terms |= {"fp32 weights": 4.0 * trained, "optimizer": 8.0 * trained, "gradients": (4.0 + width) * trained}
    if load.strategy == "zero3":
        terms["weights"] = float(width * shape.parameters)
    return terms


def disk_bytes(shape: ModelShape, load: Load) -> dict[str, float]:
    """Bytes by term in files, over all ranks."""
    if load.offload != "nvme":
        return {}
    trained = trained_weights(shape, load)
    terms = {"optimizer": 8.0 * trained, "fp32 weights": 4.0 * trained, "gradients": 4.0 * trained, "checkpoint copy": 12.0 * trained}
    return terms | ({"weights": float(BYTES[load.precision] * shape.parameters)} if load.strategy == "zero3" else {})


def serving_bytes_per_token(shape: ModelShape, kept: str | None = None) -> float:
    """Keys and values of one token, all layers; in 16 bits where nothing is said."""
    return 2 * CACHE_BYTES[kept or "bf16"] * shape.attention_layers * shape.kv_heads * shape.head_dim
