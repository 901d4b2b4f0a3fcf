"""What a step computes, against a count row by row."""

import pytest

pytest.importorskip("numpy")

import numpy as np

from entrypoint.run.row_order import RowOrder, StreamOrder
from entrypoint.run.step_work import StepWork, step_work

pytestmark = pytest.mark.image


def by_hand(order, lengths):
    """Padded tokens of each step: every micro-batch waits for the rank that has most."""
    found = []
    numbers = np.asarray(order.permutation(order.epoch))
    for at in range(order.start, order.rows, order.rows_per_step):
        step, total, width = numbers[at : at + order.rows_per_step], 0, order.micro_batch * order.ranks
        for first in range(0, len(step), width):
            dealt = step[first : first + width]
            total += max(
                len(rows) * max((int(lengths[row]) for row in rows), default=0) for rows in (dealt[rank :: order.ranks] for rank in range(order.ranks))
            )
        found.append(total)
    return found


@pytest.mark.parametrize(
    ("rows", "micro", "accumulation", "ranks", "start"), [(50, 4, 2, 1, 0), (50, 4, 2, 1, 16), (53, 3, 2, 3, 0), (7, 8, 1, 1, 0), (64, 1, 4, 2, 8)]
)
def test_padded_tokens(rows, micro, accumulation, ranks, start):
    lengths = np.random.default_rng(3).integers(5, 90, rows)
    order = RowOrder(rows, micro, accumulation, 0, ranks, seed=5)
    order.move(1, start, 0)
    assert step_work(order, lengths).tolist() == by_hand(order, lengths)


def test_rows_where_lengths_are_not_known():
    order = RowOrder(10, 2, 2, 0, 1, seed=1)
    assert step_work(order, None).tolist() == [4.0, 4.0, 2.0]
    assert step_work(StreamOrder(3, 2, 2, 0, 1), None).tolist() == [4.0, 4.0, 4.0]


def test_what_is_left_over_epochs():
    lengths = np.full(10, 7)
    order = RowOrder(10, 2, 2, 0, 1, seed=1)
    work = StepWork(order, lengths)
    taken = []
    for _ in range(4):  # three steps an epoch, the last of 2 rows
        taken.append(work.of_step())
        order.advance()
    assert taken == [28.0, 28.0, 14.0, 28.0]
    assert work.left(2) == 28.0 + 14.0
    assert work.left(5) == 28.0 + 14.0 + 3 * 70 / 3
