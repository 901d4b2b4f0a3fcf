"""How far rows at once may be raised, and where they may not."""

import pytest
from known import H100, LLAMA_8B, facts, inputs, job_of, plan_of, why

from entrypoint.plan.fit import MARGIN
from entrypoint.plan.load import GIB
from entrypoint.plan.memory import CONTEXT_GIB, FRAGMENTS

# Rows of one length, 16 a step, of a model of which few fit at once.
ROWS = inputs(rows=10_000, tokens=10_000 * 4096, longest=4096)
LORA = "adapter: {kind: lora}\ntrain: {gradient_checkpointing: false, kernels: torch}"
MACHINE = facts(H100, config=LLAMA_8B)


def test_multiples_that_part_a_step_evenly_and_are_faster() -> None:
    job = job_of(MACHINE, LORA, ROWS)
    assert job.accumulation > 1 and job.raising
    share = job.micro_batch * job.accumulation
    assert all(rows > job.micro_batch and rows % job.micro_batch == 0 and share % rows == 0 for rows in job.raising.sizes)
    assert job.raising.room_bytes == pytest.approx((MARGIN * 79.6 - CONTEXT_GIB) * GIB / (1 + FRAGMENTS), abs=1)
    value, reason = why(plan_of(MACHINE, LORA, ROWS), "rows at once")
    assert value == f"up to {job.raising.sizes[-1]}" and "at the first checkpoint" in reason


@pytest.mark.parametrize(
    "text",
    [
        LORA.replace("torch", "torch, deterministic: true"),
        LORA + "\nhardware: {strategy: ddp}",
        LORA.replace("false", "true") + "\nmethod: {kind: dpo}",
        LORA + "\nplugins: {loss: /l.py:loss}",
    ],
)
def test_where_a_run_stays_as_planned(text: str) -> None:
    assert job_of(MACHINE, text, ROWS).raising is None


def test_rows_that_would_be_padded_stay_alone() -> None:
    """One row of its own length is faster by the time model than several of the longest's."""
    mixed = inputs(rows=10_000, tokens=10_000 * 2000, longest=4096)
    job = job_of(MACHINE, LORA, mixed)
    assert job.accumulation > 1 and job.raising is None


def test_a_cpu_is_deterministic_unless_told() -> None:
    slow = facts(config=LLAMA_8B, ram_gib=90.0)
    assert job_of(slow, LORA, ROWS).raising is None
    told = job_of(slow, LORA.replace("torch", "torch, deterministic: false"), ROWS)
    assert told.accumulation > 1 and told.raising and told.raising.room_bytes == pytest.approx(MARGIN * 90 * GIB, abs=1)
