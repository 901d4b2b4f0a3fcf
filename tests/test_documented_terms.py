"""Every term that a plan can print of memory and time has a row with its formula in docs/plan.md, and every moment its own."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from entrypoint.plan.host_memory import disk_bytes, host_bytes
from entrypoint.plan.load import Load
from entrypoint.plan.memory import moments, training_bytes
from entrypoint.plan.model_shape import ModelShape, read_shape
from entrypoint.plan.time_model import step_speed
from schemas.rates import Rates

ROWS = [
    [cell.strip() for cell in line.strip("|\n").split("|")]
    for line in (Path(__file__).parents[1] / "docs" / "plan.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ")
]
RATES = Rates(device="x", matmul_tflops={"bf16": 1.0, "fp32": 1.0}, memory_gib=1.0, host_gib=1.0, collective_gib=1e-6, launch_us=1000.0, source="made up")


def shape() -> ModelShape:
    found = read_shape(
        {"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 512}
    )
    assert found
    return found


def loads() -> list[Load]:
    """Adapters with strategies, on GPUs and CPUs, with and without offload, a frozen copy, a teacher, and a validation of its own."""
    found = []
    for adapter, strategy, on_gpu, again in product(
        ("full", "lora", "qlora", "dora", "freeze"), ("single", "ddp", "zero1", "zero2", "zero3", "fsdp"), (True, False), (True, False)
    ):
        made = Load(
            adapter,
            8,
            "bf16",
            strategy,
            1 if strategy == "single" else 2,
            2,
            128,
            again,
            on_gpu,
            accumulates=True,
            validation_rows=64,
            copy=again,
            teacher=1000,
        )
        found += [made, *(replace(made, offload=where) for where in ("cpu", "nvme") if strategy.startswith("zero"))]
    return found


def printed() -> set[str]:
    sizes = shape()
    terms: set[str] = set()
    for load in loads():
        terms |= set(training_bytes(sizes, load)) | set(host_bytes(sizes, load)) | set(disk_bytes(sizes, load))
        for parts in moments(sizes, load).values():
            terms |= set(parts)
        terms |= set(step_speed(sizes, load, RATES, 2, 256, 128).parts)
    return terms


def moment_names() -> set[str]:
    return {name for load in loads() for name in moments(shape(), load)}


@pytest.mark.parametrize("term", sorted(printed() | moment_names()))
def test_has_a_row_with_its_formula(term: str) -> None:
    rows = [row for row in ROWS if row[0] == term or term in row[0].split(", ")]
    assert rows, f"docs/plan.md has no row for {term}"
    assert any(len(row) > 1 and row[1] for row in rows)


def test_more_than_a_few_are_looked_at() -> None:
    """Of each kind the rarest, so that a term that is never made here is missed by no one."""
    wanted = {
        "frozen copy",
        "teacher",
        "norms of weights",
        "dequantised layer",
        "buckets",
        "gathered layers",
        "program",
        "context",
        "weights, at the start",
        "whole weights, at the start",
    }
    assert wanted | {"between processes", "waiting for launches"} <= printed() and "validation" in moment_names()
