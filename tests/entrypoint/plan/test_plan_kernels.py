"""Whose kernels a plan may take, and what it says where they cannot be had."""

import json

import pytest
from known import H100, LLAMA_8B, ROOT, T4, TINY, facts, inputs, plan_of, spec

from entrypoint.plan.kernels import kernel_kinds
from entrypoint.plan.tables import KERNELS
from schemas.errors import MachineError

LLAMA = LLAMA_8B | {"model_type": "llama"}


def test_the_faster_is_weighed_where_it_was_measured() -> None:
    assert kernel_kinds(spec(), facts(H100, config=LLAMA)) == ("torch", "liger")
    for other in (
        facts(config=LLAMA),
        facts(T4, config=LLAMA),
        facts(H100, T4, config=LLAMA),
        facts(H100, config=LLAMA | {"model_type": "gemma2"}),
        facts(H100, config=None),
    ):
        assert kernel_kinds(spec(), other) == ("torch",)
    assert kernel_kinds(spec("train: {deterministic: true}"), facts(H100, config=LLAMA)) == ("torch",)
    assert kernel_kinds(spec("train: {kernels: torch}"), facts(H100, config=LLAMA)) == ("torch",)


def test_what_the_spec_says_is_kept() -> None:
    wanted = spec("train: {kernels: liger, deterministic: true}")
    assert kernel_kinds(wanted, facts(H100, config=LLAMA)) == ("liger",)
    assert kernel_kinds(wanted, facts(H100, config=LLAMA | {"model_type": "gemma2"})) == ("liger",)


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        (facts(config=LLAMA), "Triton's, which are for GPUs"),
        (facts(T4, config=LLAMA), "compute capability 7.5"),
        (facts(H100, config=LLAMA | {"model_type": "gpt2"}), "none for model type gpt2; it has them for deepseek_v3"),
    ],
)
def test_where_they_cannot_be_had(machine, said: str) -> None:
    with pytest.raises(MachineError) as refused:
        kernel_kinds(spec("train: {kernels: liger}"), machine)
    assert said in refused.value.what and "kernels: torch" in (refused.value.fix or "")


def test_a_plan_takes_them_for_many_tokens_and_says_why() -> None:
    found = plan_of(facts(H100, config=LLAMA), "train: {batch_tokens: 65536}\nadapter: {kind: lora}", inputs(longest=2048, tokens=1_500_000))
    (line,) = [one for one in found.decisions if one.field == "train.kernels"]
    assert (line.value, line.why.startswith("the faster; liger"), line.source) == ("liger", True, f"Liger {KERNELS['liger']['version']}")
    assert found.steps[0].job.kernels == "liger"  # type: ignore[union-attr]
    assert not [one for one in plan_of(facts(config=TINY | {"model_type": "llama"})).decisions if one.field == "train.kernels"]


def test_the_table_is_of_the_version_that_the_image_has() -> None:
    lock = (ROOT / "images" / "train" / "requirements.cuda.txt").read_text()
    assert f"liger-kernel=={KERNELS['liger']['version']} " in lock
    assert set(KERNELS["liger"]["measured"]) <= set(KERNELS["liger"]["types"])


def test_memory_against_an_h100() -> None:
    """bench/steps, 97 settings with Liger's kernels."""
    from test_plan_memory import allocated, load_of, shape_of

    rows = [json.loads(line) for line in (ROOT / "bench" / "steps" / "h100-sweep.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["kernels"] == "liger" and "peak" in row]
    errors = sorted(abs(allocated(load_of(row), shape_of(row)) * 2**30 / row["peak"] - 1) for row in rows)
    assert len(errors) > 90
    assert errors[len(errors) // 2] < 0.005 and errors[-1] < 0.06
