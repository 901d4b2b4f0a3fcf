"""When two answers are the same, and when their difference is a rounding."""

import pytest

from entrypoint.run.greedy import NEAR_TIE, Answer, Verdict, compare

FIRST = Answer([1, 2, 3], [-0.1, -0.2, -0.3], [2.0, 0.05, 1.0])


def other(ids: list[int], logprobs: list[float] | None = None) -> Answer:
    """A second answer; its own margins do not count."""
    return Answer(ids, logprobs or [-0.1] * len(ids), [0.0] * len(ids))


def test_equal() -> None:
    assert compare(FIRST, FIRST) == Verdict(equal=True, tie=False, largest_difference=0.0)


def test_equal_tokens_with_other_probabilities() -> None:
    verdict = compare(FIRST, other([1, 2, 3], [-0.1, -0.25, -0.1]))
    assert (verdict.equal, verdict.tie) == (True, False)
    assert verdict.largest_difference == pytest.approx(0.2)


@pytest.mark.parametrize(("ids", "tie"), [([9, 2, 3], False), ([1, 9, 9], True), ([1, 2, 9], False)], ids=["clear first token", "near tie", "clear last token"])
def test_where_they_part(ids: list[int], tie: bool) -> None:
    verdict = compare(FIRST, other(ids))
    assert (verdict.equal, verdict.tie) == (False, tie)


def test_only_shared_tokens_are_measured() -> None:
    assert compare(FIRST, other([1, 9, 3], [-0.4, -9.0, -9.0])).largest_difference == pytest.approx(0.3)
    assert compare(FIRST, other([9], [-9.0])).largest_difference == 0.0


def test_ends_early() -> None:
    """The first goes on with a token that led by 0.05: the end was as likely."""
    assert compare(FIRST, other([1])) == Verdict(equal=False, tie=True, largest_difference=0.0)
    assert not compare(FIRST, other([1, 2])).tie


def test_goes_on_for_longer() -> None:
    """Past the end of the first nothing says that it was near."""
    verdict = compare(FIRST, other([1, 2, 3, 4], [-0.1, -0.2, -0.3, -1.0]))
    assert verdict == Verdict(equal=False, tie=False, largest_difference=0.0)


@pytest.mark.parametrize(("margin", "tie"), [(0.0, True), (NEAR_TIE - 1e-9, True), (NEAR_TIE, False), (NEAR_TIE + 1e-9, False)])
def test_border(margin: float, tie: bool) -> None:
    assert compare(Answer([1], [0.0], [margin]), other([2])).tie is tie


def test_nothing_is_equal_to_nothing() -> None:
    assert compare(other([]), other([])) == Verdict(equal=True, tie=False, largest_difference=0.0)


def test_an_answer_that_is_not_a_number_is_never_the_same() -> None:
    nan = float("nan")
    verdict = compare(Answer([5, 6], [-0.1, nan], [1.0, nan]), Answer([5, 6], [-0.1, nan], [1.0, nan]))
    assert not verdict.equal and not verdict.tie and verdict.largest_difference == float("inf")
