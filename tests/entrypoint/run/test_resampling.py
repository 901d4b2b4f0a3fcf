"""Intervals: the same each time, as wide as theory says, and honest where resampling sees nothing."""

import math
import random

import pytest

from entrypoint.run.resampling import LEAST, MOST, mean, paired, paired_ratio, ratio, resamples


def coins(count: int, share: float, seed: int = 1) -> list[float]:
    chance = random.Random(seed)
    return [float(chance.random() < share) for _ in range(count)]


def test_the_same_answers_give_the_same_interval() -> None:
    values = [random.Random(at).random() for at in range(80)]
    assert mean(values, seed=17, name="mmlu") == mean(values, seed=17, name="mmlu")
    assert mean(values, seed=17, name="mmlu") != mean(values, seed=18, name="mmlu")
    assert mean(values, seed=17, name="mmlu") != mean(values, seed=17, name="gsm8k")


def test_a_mean_is_as_uncertain_as_theory_says() -> None:
    values = coins(400, 0.5)
    found = mean(values, seed=17, name="x")
    assert found.value == sum(values) / 400
    assert found.low is not None and found.high is not None
    error = math.sqrt(found.value * (1 - found.value) / 400)
    assert (found.low, found.high) == (pytest.approx(found.value - 1.96 * error, abs=0.005), pytest.approx(found.value + 1.96 * error, abs=0.005))


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    held = 0
    for trial in range(200):
        found = mean(coins(100, 0.7, seed=trial), seed=trial, name="x")
        held += (found.low or 0) <= 0.7 <= (found.high or 0)
    assert 180 <= held <= 199


def test_pairs_stay_together() -> None:
    """Two models that are right on the same questions differ little, however hard the questions are to guess."""
    base = coins(200, 0.5)
    tuned = [1.0 if at < 10 else value for at, value in enumerate(base)]
    apart, together = mean(tuned, seed=1, name="x"), paired(base, tuned, seed=1, name="x")
    assert apart.high is not None and apart.low is not None and together.high is not None and together.low is not None
    assert together.value == pytest.approx(sum(tuned) / 200 - sum(base) / 200)
    assert together.high - together.low < (apart.high - apart.low) / 2
    assert together.low >= 0


@pytest.mark.parametrize(("count", "low"), [(1, 0.025), (10, 0.6915), (60, 0.9404)])
def test_all_right_is_not_certain(count: int, low: float) -> None:
    found = mean([1.0] * count, seed=1, name="x")
    assert (found.value, found.low, found.high) == (1.0, pytest.approx(low, abs=1e-4), 1.0)
    same = paired([1.0] * count, [1.0] * count, seed=1, name="x")
    assert (same.value, same.low, same.high) == (0.0, pytest.approx(low - 1, abs=1e-4), pytest.approx(1 - low, abs=1e-4))


def test_a_loss_is_a_mean_over_tokens() -> None:
    rows = [(10.0, 10.0), (1.0, 2.0), (40.0, 8.0)]
    found = ratio(rows, seed=1, name="x", of=math.exp)
    assert found.value == pytest.approx(math.exp(51 / 20))
    assert found.low is not None and found.high is not None and math.exp(0.5) <= found.low < found.value < found.high <= math.exp(5)
    better = paired_ratio(rows, [(a / 2, b) for a, b in rows], seed=1, name="x")
    assert better.value == pytest.approx(51 / 40 - 51 / 20)
    assert better.high is not None and better.high < 0


def test_one_row_alone_says_nothing_of_a_loss() -> None:
    assert ratio([(3.0, 2.0)], seed=1, name="x").low is None


def test_large_suites_get_by_with_fewer() -> None:
    assert (resamples(10), resamples(5_000), resamples(10**9)) == (MOST, 4_000, LEAST)
