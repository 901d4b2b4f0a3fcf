"""Steps that are not numbers are skipped, counted, named with their rows, and end the run when they do not stop."""

import pytest

pytest.importorskip("torch")

import torch

from entrypoint.run.bad_steps import BadSteps
from entrypoint.run.row_order import RowOrder
from schemas.errors import GateRefused

pytestmark = pytest.mark.image

NAN = float("nan")


@pytest.fixture
def order():
    return RowOrder(40, 2, 2, 0, 1, seed=1)


def test_counts_and_names_the_rows_of_the_bad_micro_batch(order):
    reported = []
    bad = BadSteps(3, lambda step, rows, norm: reported.append((step, rows)))
    bad.losses = [torch.tensor(1.0), torch.tensor(NAN)]
    bad.judge(NAN, 7, order, None)
    assert bad.now and reported == [(7, sorted(order.dealt(1, 0)))]
    assert bad.counts() == {"count": 1, "in_a_row": 1}


def test_without_a_bad_loss_every_row_of_the_step_is_named(order):
    reported = []
    bad = BadSteps(3, lambda step, rows, norm: reported.append(rows))
    bad.judge(float("inf"), 1, order, None)
    assert reported == [sorted(map(int, order.step_rows()))]


def test_a_good_step_between_them_starts_the_count_anew(order):
    bad = BadSteps(2, lambda *_: None)
    for norm in (NAN, 1.0, NAN, torch.tensor(2.0)):
        bad.judge(norm, 1, order, None)
    assert bad.counts() == {"count": 2, "in_a_row": 0}


def test_too_many_in_a_row(order):
    bad = BadSteps(2, lambda *_: None)
    bad.judge(NAN, 4, order, None)
    with pytest.raises(GateRefused, match="2 steps in a row, the last is step 5 with rows"):
        bad.judge(NAN, 5, order, None)


def test_a_loss_scale_that_was_too_high_is_nobodys_fault(order):
    bad = BadSteps(1, lambda *_: None)
    bad.losses = [torch.tensor(1.0)]
    bad.judge(float("inf"), 1, order, 65536.0)
    assert bad.now and bad.count == 0


def test_a_run_of_bad_steps_only_is_refused():
    bad = BadSteps(10, lambda *_: None)
    bad.set_counts({"count": 3, "in_a_row": 3})
    with pytest.raises(GateRefused, match="every step"):
        bad.end(3)
    bad.end(4)
