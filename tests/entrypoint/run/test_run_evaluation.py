"""When an evaluation has too little to go on."""

import pytest
from sample_report import question, result

from entrypoint.run.evaluation import check_answered
from schemas.errors import GateRefused, StepFailed


def with_missing(missing: int, of: int = 40):
    return result("own", "tuned", [question(f"q{number}", None if number < missing else 1.0) for number in range(of)])


def test_a_few_may_be_missing() -> None:
    assert check_answered(with_missing(2), 0.05).questions


def test_more_are_too_many_and_the_commonest_reason_is_said() -> None:
    with pytest.raises(StepFailed, match=r"own: 3 of 40 questions have no answer of the tuned model, 5% may be missing; 3 times: HTTP 500: out of order"):
        check_answered(with_missing(3), 0.05)


def test_a_row_that_is_no_question_is_not_missing() -> None:
    rows = [question(f"q{number}", None).model_copy(update={"ended": "stop", "error": "it has no question"}) for number in range(9)]
    assert check_answered(result("own", "base", [*rows, question("q", 1.0)]), 0.05)


def test_no_question_at_all() -> None:
    with pytest.raises(GateRefused, match="own has no question"):
        check_answered(result("own", "base", []), 0.05)
