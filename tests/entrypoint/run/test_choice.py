"""Which rows are taken, how often, and where: by content and seed alone."""

import random

import pytest

pytest.importorskip("numpy")

from entrypoint.run.choice import Chooser, find_threshold
from entrypoint.run.rows import Row
from entrypoint.run.tally import Source, Tally
from schemas.job import PrepareJob, RowsJob

pytestmark = pytest.mark.image

ROWS = [Row(f"x:{i}", ({"role": "user", "content": f"q{i}"}, {"role": "assistant", "content": "a"})) for i in range(1000)]


def choose(rows, split=None, *, batch=100, chooser=None, job=None, **source):
    """Written rows as (content, split, copies), the source's and the run's counts."""
    fields = {"train": (RowsJob(path="00", source="x", format="auto"),), "validation_share": 0.1, "loss_on": "assistant"} | (job or {})
    made = PrepareJob(max_length=9, too_long="error", max_rejected=0, seed=17, **fields)
    chooser = chooser or Chooser(made, Tally())
    counted = Source("x", "train", **source)
    chosen = []
    for at in range(0, len(rows), batch):
        chosen += chooser.choose(rows[at : at + batch], split, counted)
    return [(r.messages[0]["content"], side, copies) for r, side, copies in chosen], counted, chooser


def test_order_and_batches_change_nothing():
    one, _, _ = choose(ROWS, weight=1.5)
    mixed = list(ROWS)
    random.Random(5).shuffle(mixed)
    other, _, _ = choose(mixed, batch=37, weight=1.5)
    assert sorted(one) == sorted(other)


@pytest.mark.parametrize("weight", [0.25, 1.0, 2.0, 2.5])
def test_weights(weight):
    chosen, source, _ = choose(ROWS, "train", weight=weight)
    written = sum(copies for *_, copies in chosen)
    assert abs(written - 1000 * weight) < 60
    assert (source.taken + source.repeated, source.taken + source.left_out) == (written, 1000)
    assert {copies for *_, copies in chosen} == ({1} if weight <= 1 else {2} if weight == 2 else {2, 3})


def test_validation_holds_a_row_once():
    chosen, _, _ = choose(ROWS, weight=3.0)
    held = [copies for _, side, copies in chosen if side == "validation"]
    assert 60 < len(held) < 140
    assert set(held) == {1}


def test_smaller_weights_are_parts_of_larger_ones():
    few, more = ({content for content, *_ in choose(ROWS, "train", weight=w)[0]} for w in (0.2, 0.6))
    assert few < more


@pytest.mark.parametrize("wanted", [1, 10, 999, 1000, 5000])
def test_at_most_so_many_rows(wanted):
    threshold = find_threshold(ROWS, "conversation", 17, wanted)
    chosen, source, _ = choose(ROWS, "train", max_rows=wanted, threshold=threshold)
    assert len(chosen) == min(wanted, 1000)
    assert source.left_out == 1000 - len(chosen)
    backwards, _, _ = choose(ROWS[::-1], "train", max_rows=wanted, threshold=find_threshold(ROWS[::-1], "conversation", 17, wanted))
    assert sorted(chosen) == sorted(backwards)


@pytest.mark.parametrize("batch", [1, 7, 2000])
def test_duplicates_in_a_batch_and_across(batch):
    chosen, _, chooser = choose([*ROWS, *ROWS[:30]], "train", batch=batch, job={"deduplicate": True})
    assert len(chosen) == 1000
    assert chooser.tally.duplicates == 30
    assert chooser.tally.duplicate_rows == [f"x:{i}" for i in range(5)]
    kept, _, chooser = choose([*ROWS, *ROWS[:30]], "train", batch=batch)
    assert (len(kept), chooser.tally.duplicates) == (1030, 30)


def test_what_is_in_validation_is_left_out_of_training():
    _, _, chooser = choose(ROWS[:50], "validation")
    chosen, _, _ = choose(ROWS, "train", chooser=chooser)
    assert len(chosen) == 950
    assert chooser.tally.leaked == 50


def test_keys_of_a_stopped_run_are_known_again():
    _, _, first = choose(ROWS[:500], "train")
    again = Chooser(first.job, Tally(), first.take_fresh())
    choose(ROWS, "train", chooser=again)
    assert again.tally.duplicates == 500
    assert len(again.take_fresh()["train"]) == 500
