"""What the plan's formulas, accelerate and DeepSpeed say of rows of bench/memory."""

import json
from pathlib import Path
from typing import Any

from entrypoint.plan.load import Load
from entrypoint.plan.memory import moments, standing_bytes
from entrypoint.plan.model_shape import ModelShape, read_shape

SHAPES = json.loads((Path(__file__).parent / "shapes.json").read_text(encoding="utf-8"))


def shape_of(row: dict[str, Any]) -> ModelShape:
    """Of a row's model."""
    shape = read_shape(SHAPES[row["shape"]])
    assert shape
    return shape


def load_of(row: dict[str, Any]) -> Load:
    """As the plan would describe the row."""
    return Load(
        row["adapter"], row.get("rank", 16), "bf16", "single", 1, row["batch"], row["length"], row["checkpointing"], on_gpu=True,
        logits="chunks" if row["loss"] == "chunked" else "plain", accumulates=bool(row.get("accumulated")), padded=bool(row.get("padded")),
        dropout=bool(row.get("dropout")), kernels=row.get("kernels", "torch"),
    )  # fmt: skip


def caisson(row: dict[str, Any], device: str) -> tuple[float, str]:
    """Bytes that torch's allocator hands out at the peak, and the moment; fake tensors have no cuBLAS."""
    shape, load = shape_of(row), load_of(row)
    terms = {name: sum(parts.values()) for name, parts in moments(shape, load).items()}
    moment = max(terms, key=lambda name: terms[name])
    standing = {name: size for name, size in standing_bytes(shape, load).items() if device != "fake" or name != "cuBLAS workspaces"}
    return sum(standing.values()) + terms[moment], moment


def accelerate_says(row: dict[str, Any]) -> float:
    """`accelerate estimate-memory --dtypes bfloat16`, training with Adam in mixed precision: the optimizer's 8 bytes a weight, whatever is trained."""
    return 8.0 * shape_of(row).parameters


def deepspeed_says(row: dict[str, Any]) -> float:
    """`estimate_zero2_model_states_mem_needs` for one GPU without offload: 2 bytes a weight, and 18 divided by the processes; of an
    adapter the same, and its base's weights in 16 bits."""
    shape = shape_of(row)
    if row["adapter"] == "full":
        return 20.0 * shape.parameters
    return 2.0 * shape.parameters + 20.0 * shape.lora(row.get("rank", 16))
