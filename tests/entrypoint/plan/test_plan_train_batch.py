"""Rows of a step as training divides them: over processes, micro-batches and memory. Packs: test_plan_packing.py."""

import pytest
from known import H100, LONG, big, facts, inputs, job_of, plan_of, why

from entrypoint.plan import Inputs
from schemas.job import TrainJob


@pytest.mark.parametrize(
    ("rows", "mean", "text", "batch"),
    [
        (1000, 100, "train: {batch_tokens: 1000}", 10),
        (1000, 100, "train: {batch_tokens: 1049}", 10),
        (1000, 100, "train: {batch_tokens: 1051}", 11),
        (1000, 100, "train: {batch_tokens: 16}", 1),
        (5, 100, "train: {batch_tokens: 100000}", 5),
        (1000, 100, "", 31),
        (30, 20, "", 26),
        (1_000_000, 1000, "", 66),
    ],
)
def test_batch_rows(rows: int, mean: int, text: str, batch: int) -> None:
    plan = plan_of(facts(), text, inputs(rows=rows, tokens=rows * mean, longest=mean))
    assert why(plan, "train.batch_tokens")[0].endswith(f"({batch} row{'s' if batch > 1 else ''})")


@pytest.mark.parametrize(
    ("batch", "micro", "accumulation"),
    [(1, 1, 1), (2, 2, 1), (3, 3, 1), (4, 4, 1), (8, 8, 1), (48, 48, 1), (64, 64, 1), (128, 64, 2), (200, 50, 4)],
)
def test_micro_batch(batch: int, micro: int, accumulation: int) -> None:
    job = job_of(facts(), f"train: {{batch_tokens: {batch * 100}}}")
    assert (job.micro_batch, job.accumulation) == (micro, accumulation)
    assert 0 <= job.micro_batch * job.accumulation - batch < job.accumulation, "not one row less, and no micro-batch more"


def test_micro_batch_by_memory() -> None:
    job = job_of(big(40.0), "adapter: {kind: lora}\ntrain: {batch_tokens: 64000}", LONG)
    assert 64 <= job.micro_batch * job.accumulation <= 1.03 * 64
    assert 1 <= job.micro_batch <= 8, "four long rows do not fit beside 15 GiB of weights"
    larger = job_of(big(79.6), "adapter: {kind: lora}\ntrain: {batch_tokens: 64000, gradient_checkpointing: true}", LONG)
    assert larger.micro_batch > job.micro_batch


def test_batch_is_spread_over_ranks() -> None:
    job = job_of(facts(H100, H100, H100, H100), "train: {batch_tokens: 3200}")
    assert job.ranks * job.micro_batch * job.accumulation == 32


def test_each_rank_gets_a_row() -> None:
    plan = plan_of(facts(*(H100,) * 8), "train: {batch_tokens: 100}")
    value, reason = why(plan, "train.batch_tokens")
    assert "(8 rows)" in value
    assert reason.endswith("at least 1 row for each of 8 processes")


def test_before_prepare_the_rows_are_assumed() -> None:
    plan = plan_of(facts(), "", Inputs())
    assert (
        "rows of 512 tokens assumed until prepare has counted them" in why(plan_of(facts(), "train: {batch_tokens: 4096}", Inputs()), "train.batch_tokens")[1]
    )
    assert isinstance(plan.steps[0].job, TrainJob)
    assert plan.steps[0].job.checkpoint_every == 100
    assert "largest automatic batch until the rows are counted" in why(plan, "train.batch_tokens")[1]
