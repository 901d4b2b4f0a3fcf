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
        dropout=bool(row.get("dropout")),
    )  # fmt: skip


def caisson(row: dict[str, Any]) -> tuple[float, str]:
    """Bytes that torch's allocator hands out at the peak, and the moment."""
    shape, load = shape_of(row), load_of(row)
    terms = {name: sum(parts.values()) for name, parts in moments(shape, load).items()}
    moment = max(terms, key=lambda name: terms[name])
    return sum(standing_bytes(shape, load).values()) + terms[moment], moment
