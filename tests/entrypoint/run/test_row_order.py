"""No row lost, none seen twice, on any number of processes and across a change of their number."""

import math

import pytest

pytest.importorskip("numpy")

import numpy as np

from entrypoint.run.row_order import RowOrder, masked

pytestmark = pytest.mark.image


def order(rank=0, ranks=1, rows=53, micro=2, accumulation=3):
    return RowOrder(rows, micro, accumulation, rank, ranks, seed=17)


def epoch_of(ranks, **settings):
    """Row numbers of one epoch by step, all ranks together, without the stand-ins; and each rank's micro-batches."""
    parts = [list(order(rank, ranks, **settings)) for rank in range(ranks)]
    assert len({len(p) for p in parts}) == 1, "ranks that compute another number of micro-batches wait for each other for ever"
    return [row for part in zip(*parts, strict=True) for batch in part for row in batch if row >= 0], parts


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
@pytest.mark.parametrize("rows", [1, 5, 53, 96])
def test_every_row_once(ranks, rows):
    seen, _ = epoch_of(ranks, rows=rows)
    assert sorted(seen) == list(range(rows))


@pytest.mark.parametrize("ranks", [2, 3])
def test_a_step_holds_the_same_rows_on_any_number_of_processes(ranks):
    alone = order(micro=6 * ranks, accumulation=1)
    together = order(0, ranks, micro=2, accumulation=3)
    assert alone.rows_per_step == together.rows_per_step
    for _ in range(alone.steps_left()):
        assert list(alone.step_rows()) == list(together.step_rows())
        assert alone.advance() == together.advance()


def test_length_is_what_is_left():
    made = order(0, 2)
    while True:
        assert len(list(made)) == len(made)
        if made.advance():
            break
    assert (made.epoch, made.start) == (1, 0)


def test_goes_on_with_other_ranks_where_it_was():
    first, rows = order(0, 2), []
    for _ in range(2):
        rows += list(first.step_rows())
        first.advance()
    for rank in range(3):
        rest = order(rank, 3)
        rest.epoch, rest.start = first.epoch, first.start
        rows += [row for batch in rest for row in batch if row >= 0]
    assert sorted(rows) == list(range(53))


def test_a_rank_without_a_row_gets_one_without_loss():
    _, parts = epoch_of(3, rows=19, micro=2, accumulation=3)  # 18 rows and one left over
    assert [part[-1] for part in parts][1:] == [[masked(parts[0][-1][0])]] * 2


def test_epochs_and_seeds_differ():
    assert list(order().permutation(0)) != list(order().permutation(1))
    other = RowOrder(53, 2, 3, 0, 1, seed=18)
    assert list(order().permutation(0)) != list(other.permutation(0))


def test_dealt_says_who_computed_a_row():
    made = order(1, 2)
    assert [made.dealt(micro, 1) for micro in range(3)] == list(made)[:3]


@pytest.mark.parametrize("epochs", [1, 3, 2.5, 0.1])
def test_total_steps_as_the_trainer_counts_them(epochs):
    made = order()
    each = made.steps_left()
    for done in range(math.ceil(epochs * each)):
        assert made.total_steps(done, epochs) == math.ceil(round(epochs * each, 6)), done
        made.advance()


def test_total_steps_with_fewer_rows_each():
    made = order(micro=2, accumulation=1)  # 53 rows, 27 steps an epoch
    made.epoch, made.start = 1, 12
    assert made.total_steps(11, 2) == 11 + 21
    assert made.total_steps(11, 3) == 11 + 21 + 27
    assert made.total_steps(11, 1.5) == 11 + 14 - 6
    assert made.total_steps(11, 1.1) == 11, "farther already"


def test_rows_of_like_length_come_together():
    """A permutation of the same rows, the same for any number of processes, with far less padding, and another one in each epoch."""
    lengths = np.random.default_rng(3).integers(10, 500, size=3000)
    grouped = RowOrder(3000, 4, 2, 0, 1, seed=17, lengths=lengths)
    usual = RowOrder(3000, 4, 2, 0, 1, seed=17)
    order = grouped.permutation(0)
    assert sorted(order) == list(range(3000))
    assert (order == RowOrder(3000, 1, 16, 3, 4, seed=17, lengths=lengths).permutation(0)).all()
    assert (order != grouped.permutation(1)).any()

    def padding(rows):
        batches = [lengths[rows[at : at + 8]] for at in range(0, 3000, 8)]
        return sum((batch.max() - batch).sum() for batch in batches) / lengths.sum()

    assert padding(order) < padding(usual.permutation(0)) / 10
    means = [lengths[order[at : at + 16]].mean() for at in range(0, 2992, 16)]
    assert np.corrcoef(means[:-1], means[1:])[0, 1] < 0.3, "blocks of like length are shuffled"
