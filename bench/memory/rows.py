"""The configurations that bench/memory looks at: 3 sizes x full, LoRA x 3 lengths x recomputation x loss, and what differs from them in one thing."""

from itertools import product
from typing import Any

SHAPES = {"qwen2.5-0.5b": 4, "qwen3-1.7b": 2, "llama3-8b": 1}
"""Rows at once, by shape: what a card of 80 GiB would take of most."""

LENGTHS = (1024, 2048, 4096)


SELECTIVE: tuple[dict[str, Any], ...] = (
    {}, {"adapter": "full"}, {"adapter": "full", "accumulated": True}, {"loss": "whole"}, {"length": 4096}, {"padded": True},
    {"shape": "qwen2.5-0.5b", "batch": 4}, {"shape": "qwen2.5-0.5b", "batch": 4, "length": 4096, "adapter": "full"}, {"shape": "llama3-8b", "batch": 1, "length": 4096},
    {"shape": "odd", "batch": 2, "length": 4096}, {"shape": "odd", "adapter": "full"},
)  # fmt: skip
"""Every second layer, in this and that; `odd` has an odd number of them, so that the last is one that is recomputed."""


def grid() -> list[dict[str, Any]]:
    """72 rows."""
    return [
        {"shape": shape, "adapter": adapter, "batch": batch, "length": length, "checkpointing": again, "loss": loss}
        for (shape, batch), adapter, length, again, loss in product(
            SHAPES.items(), ("lora", "full"), LENGTHS, (False, True), ("chunked", "whole")
        )
    ]  # fmt: skip


def apart() -> list[dict[str, Any]]:
    """Rows that differ from the grid's in one thing."""
    base = {"shape": "qwen3-1.7b", "adapter": "lora", "batch": 2, "length": 2048, "checkpointing": False, "loss": "chunked"}
    found = [base | {"dropout": 0.05}, base | {"padded": True}, base | {"padded": True, "checkpointing": True}, base | {"rank": 64}]
    found += [base | {"adapter": "full", "accumulated": True}, base | {"adapter": "full", "accumulated": True, "checkpointing": True}]
    found += [base | {"batch": 16, "checkpointing": True}, base | {"batch": 8, "length": 4096, "checkpointing": True, "shape": "llama3-8b"}]
    found += [base | {"checkpointing": "selective"} | beside for beside in SELECTIVE]
    return [*found, base | {"adapter": "full", "batch": 16, "checkpointing": True}, base | {"adapters": "bf16", "dropout": 0.05}]


def measured() -> list[dict[str, Any]]:
    """Measured on one H100 80GB HBM3 with torch 2.11, random weights; GiB allocated at the peak."""
    base = {"shape": "llama3-8b", "adapter": "lora", "length": 4096, "loss": "whole"}
    return [
        base | {"batch": 4, "checkpointing": True, "gib": 43.2, "what": "plain, autocast, fp32 adapters"},
        base | {"batch": 4, "checkpointing": True, "adapters": "bf16", "autocast": False, "gib": 43.0, "what": "plain, bf16 adapters"},
        base | {"batch": 1, "checkpointing": False, "adapters": "bf16", "autocast": False, "gib": 43.7, "what": "plain, bf16 adapters"},
        base | {"batch": 8, "checkpointing": True, "loss": "chunked", "gib": 34.0, "what": "TRL 1.16 SFTTrainer, its defaults"},
    ]
