"""Which answers pass, how far a training over NF4 weights may move them, and what is written down."""

import json
from pathlib import Path
from typing import Any

import pytest

from entrypoint.run.events import Events
from entrypoint.run.greedy import Answer
from entrypoint.run.parity import FILE_NAME, OTHER_BASE, ROUNDED, check_answers, too_small
from schemas.errors import GateRefused

GOLDEN = [{"kind": "plain", "messages": [{"role": "user", "content": "Which colour?"}], "prompt_ids": [1]}]
TUNED = Answer([5, 6, 7], [-0.1, -0.2, -0.3], [3.0, 0.9, 2.0], ended=True)


def check(folder: Path, after: Answer, factor: float = 1.0) -> dict[str, Any]:
    return check_answers(folder, GOLDEN, [TUNED], [after], factor, Events(folder / "events.jsonl"))


def test_equal_answers(tmp_path: Path) -> None:
    assert check(tmp_path, TUNED) == {"golden": 1, "equal": 1, "near_ties": 0, "largest_logprob_difference": 0.0}
    (row,) = json.loads((tmp_path / FILE_NAME).read_text())
    assert row["answer_ids"] == row["exported_ids"] == [5, 6, 7] and row["equal"] is True and row["kind"] == "plain"
    assert json.loads((tmp_path / "events.jsonl").read_text().splitlines()[-1])["equal"] == 1


def test_a_wider_tie_over_nf4_weights(tmp_path: Path) -> None:
    """The second token led by 0.9 nats: too far for rounding, not for other weights of the base."""
    other = Answer([5, 9], [-0.1, -0.2], [3.0, 0.1])
    assert check(tmp_path, other, OTHER_BASE)["near_ties"] == 1
    with pytest.raises((GateRefused, ModuleNotFoundError)):  # the words need a tokenizer
        check(tmp_path, other)


def test_a_probability_that_moved_too_far(tmp_path: Path) -> None:
    other = Answer([5, 6, 7], [-0.1, -0.2, -1.0], [3.0, 0.9, 2.0])
    assert check(tmp_path, other, OTHER_BASE)["equal"] == 1
    with pytest.raises((GateRefused, ModuleNotFoundError)):
        check(tmp_path, other)


def test_the_factors_lie_in_order() -> None:
    """Exact arithmetic, bf16 arithmetic, other weights."""
    assert 1 < ROUNDED < OTHER_BASE


def test_an_update_that_bf16_cannot_hold_is_named() -> None:
    assert too_small(1.6).startswith("rounding to bf16 moves the weights 160% as far as the training did")
