"""Rows of a step and steps between checkpoints."""

import pytest
from known import H100, facts, spec

from entrypoint.plan.batch import Rows, batch_rows, checkpoint_every
from entrypoint.plan.load import Load
from entrypoint.plan.saves import Saves, saves_of
from schemas.plan import Decision

COUNTED = Rows(count=300, mean=60.0, longest=110, assumed=False)


@pytest.mark.parametrize(
    ("train", "ranks", "rows"),
    [
        ("", 1, 9),  # 18,000 tokens over 32 steps are 562: 9 rows of 60
        ("train: {batch_tokens: 240}", 1, 4),
        ("train: {batch_tokens: 16}", 1, 1),
        ("train: {batch_tokens: 16}", 8, 8),  # a process without a row could not take part
        ("train: {batch_tokens: 1000000}", 1, 300),  # never more than there are
    ],
)
def test_rows_of_a_step(train: str, ranks: int, rows: int) -> None:
    decisions: list[Decision] = []
    assert batch_rows(spec(train), COUNTED, ranks, decisions) == rows
    assert f"({rows} row{'s' if rows > 1 else ''})" in decisions[0].value


def test_the_automatic_batch_has_a_least_and_a_most() -> None:
    few, many = Rows(10, 20.0, 30, False), Rows(10_000_000, 500.0, 900, False)
    assert batch_rows(spec(), few, 1, []) == 10
    assert batch_rows(spec(), many, 1, []) == round(65_536 / 500)


@pytest.mark.parametrize(
    ("train", "trained", "every"),
    [
        ("train: {epochs: 2}", 5_000_000, 8),  # 150 steps, about 20 small checkpoints
        ("train: {epochs: 2}", 1_000_000_000, 38),  # 11 GiB each: about 4
        ("train: {epochs: 0.01}", 5_000_000, 1),
        ("train: {max_steps: 40}", 5_000_000, 2),
        ("train: {checkpoint: {every: 7}}", 5_000_000, 7),
    ],
)
def test_steps_between_checkpoints(train: str, trained: int, every: int) -> None:
    assert checkpoint_every(spec(train), COUNTED, 4, saves(trained), []) == every


def saves(trained: int) -> Saves:
    load = Load("full", 16, "bf16", "single", ranks=1, micro_batch=1, length=64, gradient_checkpointing=False, on_gpu=True)
    return saves_of(trained, load, facts(H100, disk_write_gib=0.5))


def test_the_interval_says_what_a_checkpoint_costs() -> None:
    decisions: list[Decision] = []
    checkpoint_every(spec("train: {epochs: 2}"), COUNTED, 4, saves(1_000_000_000), decisions)
    (said,) = decisions
    assert said.value == "38 steps, at least 111.8 s apart"
    assert said.why.startswith("about 4 in 150 steps; a checkpoint of 11.18 GiB takes 22.4 s at 0.50 GiB/s, measured, and saves are to cost less than 1%")
    checkpoint_every(spec("train: {epochs: 2}"), COUNTED, 4, saves(0), decisions)
    assert (decisions[-1].value, decisions[-1].why) == ("8 steps", "about 20 in 150 steps")
