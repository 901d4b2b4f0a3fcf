"""The proof of the mask comes out of the trainer's own collator."""

import pytest

pytest.importorskip("trl")

from tiny import caisson, rows, tokenizer

from entrypoint.run.show_rows import collated, mark

pytestmark = pytest.mark.image


def test_marks():
    made = tokenizer()
    ids = made("Hello you.<|im_end|>")["input_ids"]
    assert mark(made, ids, [False] * 3 + [True] * (len(ids) - 3), colour=False) == made.decode(ids[:3]) + "⟦" + made.decode(ids[3:]) + "⟧"
    assert mark(made, ids, [True] * len(ids), colour=True) == "\x1b[32mHello you.<|im_end|>\x1b[0m"


def test_prepare_shows_rows(prepared, sources, tmp_path):
    path = prepared.parent / "spec.yaml"
    process = caisson("prepare", path, "--store", prepared, "--show", "2", cwd=tmp_path)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "up to date" in out
    assert out.count("--- row ") == 2
    answers = [r["messages"][1]["content"] for r in rows(70)]
    assert sum(f"<|im_start|>assistant\n⟦{answer}<|im_end|>⟧" in out for answer in set(answers)) >= 1
    assert out.count("⟦") == out.count("⟧") == 3  # two rows and the line that explains


def test_pairs_and_labels_through_their_collators():
    import numpy as np

    pair = {"input_ids": np.array([5, 6, 7, 5, 6, 8, 9]), "labels": np.array([-100, -100, 7, -100, -100, 8, 9]), "chosen": 3}
    assert list(collated([pair, pair], "pair", 2))[:2] == [
        ("row 1, chosen", [5, 6, 7], [False, False, True]),
        ("row 1, rejected", [5, 6, 8, 9], [False, False, True, True]),
    ]
    labelled = {"input_ids": np.array([5, 6]), "labels": np.array([-100, 6]), "label": np.bool_(False)}
    assert list(collated([labelled], "labelled", 2)) == [("row 1, unwanted", [5, 6], [False, True])]
