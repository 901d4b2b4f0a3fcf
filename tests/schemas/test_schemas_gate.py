"""Conditions as people write them, what is said of wrong ones, and what comes of right ones."""

import pytest

from schemas.evaluation import Estimate, Score
from schemas.gate import ConditionError, check_kind, judge, needs_base, read_condition


def read(text: str) -> list[tuple[str, float, float]]:
    return [(one.sign, one.factor, one.added) for one in read_condition(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (">= 0.9", [(">=", 0, 0.9)]),
        (">=90%", [(">=", 0, 0.9)]),
        ("  <  .5 ", [("<", 0, 0.5)]),
        (">= base", [(">=", 1, 0)]),
        (">= base - 1%", [(">=", 1, -0.01)]),
        ("> base+0.05", [(">", 1, 0.05)]),
        ("<= base * 1.05", [("<=", 1.05, 0)]),
        (">= base and >= 0.5", [(">=", 1, 0), (">=", 0, 0.5)]),
        ("<= 1e-2", [("<=", 0, 0.01)]),
    ],
)
def test_right_ones(text: str, found: list[tuple[str, float, float]]) -> None:
    assert read(text) == found


@pytest.mark.parametrize(
    ("text", "at", "what", "fix"),
    [
        ("", 0, "is empty", 'write ">= 0.9"'),
        ("0.9", 0, "must begin with one of >=, <=, >, <", 'write ">= 0.9"'),
        ("at least 0.9", 0, "must begin with", 'write ">= 0.9"'),
        ("=> 0.9", 0, "`=>` is no sign", "did you mean `>=`?"),
        ("≥ 0.9", 0, "`≥` is no sign", "did you mean `>=`?"),
        ("== base", 0, "`==` is no sign: a condition compares with", ">= is meant"),
        (">=", 2, "has nothing after its sign", 'write ">= 0.9"'),
        (">= bas - 1%", 3, "`bas` is neither a number nor base", "did you mean `base`?"),
        (">= mmlu", 3, "`mmlu` is neither a number nor base", "base is the model"),
        (">= base -", 9, "has no number after `-`", "write base - NUMBER"),
        (">= base - one", 10, "`one` where a number should be", "write base - NUMBER"),
        (">= base 1%", 8, "`1%` is too much", "a bound is"),
        (">= base / 2", 8, "`/` is too much", "a bound is"),
        (">= -0.1", 3, "no score is below 0", "from 0"),
        (">= (0.9)", 3, "`(` where a number or base should be", "write"),
        (">= 0.5 <= 0.9", 7, "`<=` comes without `and`", ">= base and >= 0.5"),
        (">= base or >= 0.5", 8, "`or` is too much", "a bound is"),
        (">= 0.5 and", 10, "is empty", "write"),
        (">= 1" + "0" * 300, 0, "has 304 characters", "write"),
    ],
)
def test_wrong_ones_are_told_with_their_place(text: str, at: int, what: str, fix: str) -> None:
    with pytest.raises(ConditionError) as caught:
        read_condition(text)
    assert caught.value.at == at
    assert what in caught.value.what
    assert fix in (caught.value.fix or "")


@pytest.mark.parametrize(
    ("text", "share", "at", "what", "fix"),
    [
        (">= 90", True, 3, "90 where a score goes from 0 to 1", "write 90% or 0.9"),
        (">= base and > 1.5", True, 14, "1.5 where", "write 1.5% or 0.015"),
        ("<= base + 5%", False, 10, "a percentage of a metric that is no share", "base * 1.05"),
        ("<= 5%", False, 3, "a percentage of a metric that is no share", "a plain number"),
    ],
)
def test_bounds_that_mean_nothing_for_a_metric(text: str, share: bool, at: int, what: str, fix: str) -> None:
    with pytest.raises(ConditionError) as caught:
        check_kind(read_condition(text), share=share)
    assert (caught.value.at, what in caught.value.what, fix in (caught.value.fix or "")) == (at, True, True)


def test_bounds_that_do() -> None:
    check_kind(read_condition(">= 100% and >= base * 1.2"), share=True)
    check_kind(read_condition("<= 12.5 and <= base + 0.3"), share=False)


def score(tuned: float | None, base: float | None = None, spread: float = 0.0) -> Score:
    def around(value: float) -> Estimate:
        return Estimate(value=value, low=value - spread, high=value + spread)

    both = tuned is not None and base is not None
    return Score(
        metric="mmlu", called="right answers", questions=100, tuned=None if tuned is None else around(tuned), base=None if base is None else around(base),
        difference=around(tuned - base) if both else None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("condition", "found", "passed"),
    [
        (">= 0.9", score(0.9), True),
        (">= 0.9", score(0.8999), False),
        ("> 0.9", score(0.9), False),
        ("< 0.9", score(0.9), False),
        ("<= 0.9", score(0.9), True),
        (">= base - 1%", score(0.90, 0.91), True),
        (">= base - 1%", score(0.899, 0.91), False),
        (">= base", score(0.91, 0.91), True),
        (">= base * 1.1", score(0.55, 0.5), True),
        (">= base * 1.1", score(0.54, 0.5), False),
        (">= 0.5 and >= base", score(0.6, 0.7), False),
        (">= 0.5 and >= base", score(0.6, 0.5), True),
        (">= base", score(0.9), False),
        (">= 0.1", score(None, 0.9), False),
    ],
)
def test_verdicts(condition: str, found: Score, passed: bool) -> None:
    (verdict,) = judge({"mmlu": condition}, (found,))
    assert verdict.passed == passed
    assert verdict.condition == condition


def test_a_number_that_is_not_there_does_not_pass_and_says_why() -> None:
    assert [v.why for v in judge({"mmlu": ">= base", "other": ">= 0"}, (score(0.5),))] == [
        "the base has no such number", "the tuned model has no such number",
    ]  # fmt: skip
    silent = Score(metric="own.loss", called="loss", why="the endpoint gives no log-probabilities of a prompt")
    (verdict,) = judge({"own.loss": "<= 2"}, (silent,))
    assert (verdict.passed, verdict.why) == (False, silent.why)


def test_the_bound_is_worked_out_for_people() -> None:
    (verdict,) = judge({"mmlu": ">= base - 1%"}, (score(0.85, 0.91),))
    assert (verdict.value, verdict.bound) == (0.85, pytest.approx(0.9))


@pytest.mark.parametrize(
    ("condition", "found", "passed", "certain"),
    [
        (">= 0.5", score(0.6, spread=0.05), True, True),
        (">= 0.5", score(0.52, spread=0.05), True, False),
        (">= 0.5", score(0.48, spread=0.05), False, False),
        (">= base", score(0.6, 0.59, spread=0.02), True, False),
        (">= base - 5%", score(0.6, 0.59, spread=0.02), True, True),
        (">= base and >= 0.5", score(0.52, 0.3, spread=0.05), True, False),
    ],
)
def test_a_verdict_knows_how_certain_it_is(condition: str, found: Score, passed: bool, certain: bool) -> None:
    (verdict,) = judge({"mmlu": condition}, (found,))
    assert (verdict.passed, verdict.certain) == (passed, certain)


def test_the_base_is_asked_only_where_a_condition_wants_it() -> None:
    assert needs_base({"a": ">= 0.5", "b": ">= base"})
    assert not needs_base({"a": ">= 0.5"})
