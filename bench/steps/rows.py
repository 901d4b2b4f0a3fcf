"""What bench/steps measures on a GPU: the grid of memory and time, and for each job the settings that its plan chooses from."""

from itertools import product
from typing import Any

SHAPES = {"qwen2.5-0.5b": 4, "qwen3-1.7b": 2, "llama3-8b": 1}
"""Rows at once, by shape."""

LENGTHS = (1024, 2048, 4096)

KINDS = [("qwen2.5-0.5b", "lora"), ("qwen2.5-0.5b", "full"), ("qwen2.5-0.5b", "qlora"), ("qwen3-1.7b", "lora"), ("qwen3-1.7b", "full"), ("qwen3-1.7b", "qlora"),
         ("llama3-8b", "lora"), ("llama3-8b", "qlora")]  # fmt: skip
"""Full weights of 8 billion, with fp32 masters and moments, are 120 GiB: no card of 80 has room."""


def grid() -> list[dict[str, Any]]:
    """96 rows: 3 sizes x full, LoRA, QLoRA x 3 lengths x recomputation x loss."""
    return [
        {"shape": shape, "adapter": adapter, "batch": SHAPES[shape], "length": length, "checkpointing": again, "loss": loss, "of": "grid"}
        for (shape, adapter), length, again, loss in product(KINDS, LENGTHS, (False, True), ("chunked", "whole"))
    ]


MICRO = (1, 2, 4, 8, 16, 32)
TOKENS = 2**16
"""Of a step of a job: micro-batches of all sizes part it evenly."""


def jobs() -> list[dict[str, Any]]:
    """16 jobs: 8 models with their adapters x 2 lengths."""
    return [{"shape": shape, "adapter": adapter, "length": length} for (shape, adapter), length in product(KINDS, (1024, 4096))]


def sweep(kernels: tuple[str, ...] = ("torch",)) -> list[dict[str, Any]]:
    """Each job with every number of rows at once, with and without recomputation; as many tokens at once as could fit."""
    return [
        {**job, "batch": batch, "checkpointing": again, "loss": "chunked", "kernels": kind, "of": "sweep"}
        for job, again, batch, kind in product(jobs(), (False, True), MICRO, kernels)
        if batch * job["length"] <= TOKENS
    ]
