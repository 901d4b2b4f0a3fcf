"""Against one H100, and in the right direction."""

import json
from dataclasses import replace
from typing import Any

import pytest
from known import H100, LLAMA_8B, ROOT

from entrypoint.plan.accelerators import tabled_rates
from entrypoint.plan.load import Load
from entrypoint.plan.model_shape import ModelShape, read_shape
from entrypoint.plan.time_model import step_speed
from schemas.rates import Rates

BENCH = ROOT / "bench"
LORA = Load("lora", 16, "bf16", "single", 1, 1, 4096, False, True)


def shape() -> ModelShape:
    found = read_shape(LLAMA_8B)
    assert found
    return found


def rates(**other: float) -> Rates:
    found = tabled_rates(H100)
    assert found
    return found.model_copy(update=other)


def rate(load: Load, of: Rates | None = None, accumulation: int = 1) -> float:
    """Tokens a second."""
    return step_speed(shape(), load, of or rates(), accumulation, load.tokens * accumulation * load.ranks, load.length).rate


@pytest.mark.parametrize(
    ("what", "measured", "load"),
    [
        # Llama-3-8B shape, random weights, 4096 tokens, LoRA r16, torch 2.11; 16-bit adapters are what DeepSpeed keeps.
        ("plain, recomputation, fp32 adapters", 7006, replace(LORA, micro_batch=4, gradient_checkpointing=True, logits="plain")),
        ("plain, recomputation, bf16 adapters", 7966, replace(LORA, micro_batch=4, gradient_checkpointing=True, logits="plain", strategy="zero1")),
        ("plain, bf16 adapters", 10759, replace(LORA, logits="plain", strategy="zero1")),
        ("TRL's defaults", 6908, replace(LORA, micro_batch=8, gradient_checkpointing=True)),
    ],
)
def test_against_an_h100(what: str, measured: float, load: Load) -> None:
    assert rate(load) == pytest.approx(measured, rel=0.04), what


def measured_rows() -> list[tuple[dict[str, Any], float]]:
    """Of bench/steps' sweep, each with the plan's error."""
    found = Rates.model_validate(json.loads((BENCH / "steps" / "h100-rates.json").read_text())["measured"][0])
    shapes = json.loads((BENCH / "memory" / "shapes.json").read_text())
    rows = []
    for row in map(json.loads, (BENCH / "steps" / "h100-sweep.jsonl").read_text().splitlines()):
        if row["kernels"] == "torch" and "seconds" in row:
            load = Load(row["adapter"], 16, "bf16", "single", 1, row["batch"], row["length"], row["checkpointing"], on_gpu=True, accumulates=False)
            of = read_shape(shapes[row["shape"]])
            assert of
            speed = step_speed(of, load, found, 1, row["batch"] * row["length"], row["length"])
            rows.append((row | {"waits": speed.parts.get("waiting for launches", 0.0) / speed.seconds}, abs(speed.seconds / row["seconds"] - 1)))
    return rows


def test_against_an_h100_that_is_kept_busy() -> None:
    """Three sizes, three adapters: median within 5%, 95 of a hundred within 10%."""
    errors = sorted(error for row, error in measured_rows() if row["waits"] < 0.05)
    assert len(errors) > 40
    assert errors[len(errors) // 2] < 0.05
    assert errors[int(0.95 * len(errors))] < 0.10


def test_against_an_h100_that_waits_for_its_host() -> None:
    """The same setting took 0.25 and 0.36 s there: only the order of such times can be told."""
    errors = sorted(error for row, error in measured_rows() if row["waits"] >= 0.05)
    assert errors[len(errors) // 2] < 0.10
    assert errors[-1] < 0.35


def test_parts_add_up() -> None:
    speed = step_speed(shape(), LORA, rates(), 4, 4 * 4096, 4096)
    assert speed.seconds == sum(speed.parts.values())
    assert speed.rate == 4 * 4096 / speed.seconds


def test_recomputation_costs_speed_and_more_rows_at_once_gain_some() -> None:
    assert rate(replace(LORA, gradient_checkpointing=True)) < 0.8 * rate(LORA)
    half = 1 / rate(replace(LORA, gradient_checkpointing="selective"))
    assert half == pytest.approx((1 / rate(LORA) + 1 / rate(replace(LORA, gradient_checkpointing=True))) / 2, rel=0.01)
    assert rate(LORA) < rate(replace(LORA, micro_batch=4)) < 1.1 * rate(LORA)


def test_a_slow_link_shows_with_shards() -> None:
    many = replace(LORA, adapter="full", strategy="zero3", ranks=8, gradient_checkpointing=True)
    assert rate(many, rates(collective_gib=300.0)) > 2 * rate(many, rates(collective_gib=2.0))
    assert rate(replace(many, nodes=2), rates(collective_gib=300.0)) < rate(many, rates(collective_gib=300.0))


def test_small_models_wait_for_launches() -> None:
    tiny = read_shape({**LLAMA_8B, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 1000})
    assert tiny
    speed = step_speed(tiny, replace(LORA, length=128), rates(), 1, 128, 128)
    assert speed.parts["waiting for launches"] > 0.8 * speed.seconds


def test_offload_waits_for_the_host() -> None:
    full = replace(LORA, adapter="full", strategy="zero2", gradient_checkpointing=True)
    assert (
        step_speed(shape(), replace(full, offload="cpu"), rates(), 1, 4096, 4096).parts["optimizer"]
        > 10 * step_speed(shape(), full, rates(), 1, 4096, 4096).parts["optimizer"]
    )


def test_a_precision_that_was_not_measured_takes_the_slowest() -> None:
    assert rate(replace(LORA, precision="fp16"), rates(matmul_tflops={"fp32": 50.0})) < rate(LORA) / 5


def test_a_cpu_is_filled_by_few_rows() -> None:
    cpu = Rates(device="cpu", matmul_tflops={"fp32": 0.1}, memory_gib=18.0, launch_us=2.3, source="t")
    few = replace(LORA, precision="fp32", on_gpu=False, length=240)
    assert rate(few, cpu) > 0.85 * rate(replace(few, length=4096), cpu)
    assert rate(replace(LORA, length=240)) < 0.6 * rate(LORA)
