"""Prepared pairs as TRL's own collator would lay them out."""

import pytest

pytest.importorskip("trl")

import numpy as np
from method_rows import encode, examples, write_file, write_split

from entrypoint.run.methods.pairs import PairCollator
from entrypoint.run.row_order import masked
from entrypoint.run.token_rows import DealtRows, token_rows
from schemas.errors import GateRefused

pytestmark = pytest.mark.image

PAD = 2
"""Also the end token."""


def test_a_batch_is_the_one_of_trl(tmp_path):
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    found = examples(5)
    write_split(tmp_path, "train", "pair", found)
    rows = token_rows(tmp_path, "train", "pair")
    assert len(rows) == 5
    batch = PairCollator(PAD)([rows[i] for i in range(5)])
    assert batch.pop("counts").tolist() == [True] * 5
    by_trl = []
    for example in found:
        chosen, rejected = (encode(example, side) for side in ("chosen", "rejected"))
        start = int(np.argmax(chosen.supervised))
        by_trl.append({"prompt_ids": chosen.ids[:start].tolist(), "chosen_ids": chosen.ids[start:].tolist(), "rejected_ids": rejected.ids[start:].tolist()})
    expected = DataCollatorForPreference(pad_token_id=PAD)(by_trl)
    assert set(batch) == set(expected)
    for name, values in expected.items():
        assert batch[name].equal(values), name


def test_a_row_that_stands_in_for_none_does_not_count(tmp_path):
    write_split(tmp_path, "train", "pair", examples(3))
    dealt = DealtRows(token_rows(tmp_path, "train", "pair"))
    batch = PairCollator(PAD)([dealt[1], dealt[masked(2)]])
    assert batch["counts"].tolist() == [True, False]
    assert batch["completion_mask"].sum(dim=1).min() > 0  # a mean over no token would be no number


def test_pairs_over_several_files_stay_pairs(tmp_path):
    found = examples(4)
    for number in range(2):
        write_file(tmp_path, "train", [encode(example, side) for example in found[2 * number :][:2] for side in ("chosen", "rejected")], number)
    rows = token_rows(tmp_path, "train", "pair")
    assert [int(rows[i]["chosen"]) for i in range(4)] == [len(encode(example, "chosen").ids) for example in found]


def test_half_a_pair_is_refused(tmp_path):
    write_file(tmp_path, "train", [encode(examples(1)[0], side) for side in ("chosen", "rejected", "chosen")])
    with pytest.raises(GateRefused, match="an odd number of rows"):
        token_rows(tmp_path, "train", "pair")


def test_answers_without_labels_are_refused(tmp_path):
    write_file(tmp_path, "train", [encode(examples(1)[0], "chosen")])
    with pytest.raises(GateRefused, match="no labels"):
        token_rows(tmp_path, "train", "labelled")
