"""What is refused as a result, and what is kept of a text."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.evaluation import MAX_TEXT, Question, SuiteResult, Verdict, excerpt
from schemas.report import Report

ASKED: dict[str, Any] = {"id": "1", "prompt": "How deep is the harbour?", "answer": "Nine metres.", "score": 1.0, "ended": "stop"}
SUITE: dict[str, Any] = {
    "suite": "mine", "kind": "questions", "source": "/data/mine.jsonl", "side": "tuned", "served_name": "n", "metric": "exact_match",
    "tool": "evalscope 1.14.0", "questions": [ASKED, ASKED | {"id": "2", "score": None, "ended": "none", "error": "HTTP 500"}], "seconds": 1.5,
}  # fmt: skip


def test_a_result_comes_back() -> None:
    found = SuiteResult.model_validate(SUITE)
    assert SuiteResult.model_validate_json(found.model_dump_json()) == found
    assert [question.score for question in found.questions] == [1.0, None]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"score": 1.5}, "less than or equal to 1"),
        ({"score": float("nan")}, "finite"),
        ({"score": None}, "a score or an error"),
        ({"error": "HTTP 500"}, "a score or an error"),
        ({"id": ""}, "at least 1 character"),
        ({"tokens": -1}, "greater than or equal to 0"),
        ({"scores": {"token_f1": float("inf")}}, "finite"),
        ({"ended": "length"}, "'stop', 'cut' or 'none'"),
        ({"verdict": "good"}, "Extra inputs"),
    ],
)
def test_impossible_questions_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Question.model_validate(ASKED | changes)


@pytest.mark.parametrize("suite", ["", "own.exact", "../x", "a b", "-x", "x" * 64])
def test_a_name_has_to_fit_into_a_gate_and_a_path(suite: str) -> None:
    with pytest.raises(ValidationError):
        SuiteResult.model_validate(SUITE | {"suite": suite})


def test_an_id_is_there_once() -> None:
    with pytest.raises(ValidationError, match="two questions have one id"):
        SuiteResult.model_validate(SUITE | {"questions": [ASKED, ASKED]})


def test_a_report_passes_where_every_condition_holds() -> None:
    bare = Report(name="n", export="0" * 16, made_at="2026-01-01T10:00:00+00:00", seed=17)
    assert bare.passed, "without a gate there is nothing to fail"
    good, bad = (Verdict(metric="mine", condition=">= 0.9", passed=passed, value=0.9, bound=0.9) for passed in (True, False))
    assert bare.model_copy(update={"gate": (good,)}).passed
    assert not bare.model_copy(update={"gate": (good, bad)}).passed


def test_an_excerpt_has_both_ends() -> None:
    assert excerpt("short") == "short"
    long = "a" * 5_000 + "the end"
    kept = excerpt(long)
    assert kept.startswith("aaa") and kept.endswith("the end") and "[... 1,007 characters ...]" in kept
    assert len(kept) < MAX_TEXT + 50
    assert json.loads(json.dumps(excerpt("bad \ud800 half").encode("utf-8").decode())) == "bad ? half"
