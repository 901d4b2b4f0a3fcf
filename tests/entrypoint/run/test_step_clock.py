"""The estimate of what is left: by hand, with hiccups, with steps of unlike work, and on recorded runs."""

import json
import random
import statistics

import pytest
from small_run import ROOT

from entrypoint.run.step_clock import StepClock, forecast

RECORDED = sorted((ROOT / "bench" / "eta").glob("*.json"))


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def test_pauses_are_in_no_step() -> None:
    now = Clock()
    clock = StepClock(now)
    now.at += 50  # the model is loaded
    clock.begin()
    for seconds in (5.0, 1.0, 1.2, 0.8):
        now.at += seconds
        assert clock.step(1.0) == pytest.approx(seconds)
        with clock.pause("save"):
            now.at += 0.25
    with clock.pause("validation"):
        now.at += 7
    assert clock.median() == pytest.approx(1.0), "the first step warms up"
    # Ten steps of a second, ten saves, two validations.
    assert clock.seconds_left(10, 10.0, 2, 99.0) == pytest.approx(10 + 2.5 + 14)


def test_before_a_validation_was_measured_it_counts_as_a_forward_pass() -> None:
    now = Clock()
    clock = StepClock(now)
    for _ in range(3):
        now.at += 2.0
        clock.step(100.0)
    assert clock.seconds_left(4, 400.0, 3, 150.0) == pytest.approx(8 + 3 * 3.0 / 3)


def test_nothing_is_known_before_the_first_step() -> None:
    assert StepClock().median() is None
    assert StepClock().seconds_left(10, 10.0, 0, 0.0) == 0.0


def test_one_step_that_waited_does_not_count() -> None:
    done = [(1.0, 10.0)] * 19 + [(60.0, 10.0)]
    assert forecast(done, 80, 800.0) == pytest.approx(80.0)


def test_a_machine_that_others_use_is_as_it_is() -> None:
    """Every fourth step takes five times as long: no outlier, and it goes on."""
    done = [(5.0 if at % 4 == 0 else 1.0, 10.0) for at in range(20)]
    assert forecast(done, 80, 800.0) == pytest.approx(160.0)


def test_a_fixed_part_is_told_from_what_grows() -> None:
    chance = random.Random(4)
    works = [chance.uniform(50, 400) for _ in range(200)]
    seconds = [0.3 + 0.002 * work for work in works]
    found = forecast(list(zip(seconds[:20], works[:20], strict=True)), 180, sum(works[20:]))
    assert found == pytest.approx(sum(seconds[20:]), rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_within_two_percent_after_twenty_unlike_steps(seed: int) -> None:
    """Rows from a long-tailed distribution, 3% noise, a hiccup: a mean of steps is off by far more."""
    chance = random.Random(seed)
    works = [sum(chance.lognormvariate(4, 0.8) for _ in range(4)) for _ in range(400)]
    seconds = [(0.05 + 0.001 * work) * chance.gauss(1, 0.03) for work in works]
    seconds[7] *= 30
    real = sum(seconds[20:])
    assert abs(forecast(list(zip(seconds[1:20], works[1:20], strict=True)), 380, sum(works[20:])) / real - 1) < 0.02
    assert abs(380 * statistics.fmean(seconds[1:20]) / real - 1) > 0.05


def test_a_machine_that_became_slower_stays_so() -> None:
    done = [(1.0, 1.0)] * 300 + [(2.0, 1.0)] * 300
    assert forecast(done, 100, 100.0) == pytest.approx(200.0)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_on_recorded_runs(path) -> None:  # type: ignore[no-untyped-def]
    """What the run would have said after 20 steps, from the times that it had: as bench/eta says it did."""
    recorded = json.loads(path.read_text())
    for run in recorded["runs"]:
        for clock in ("seconds", "cpu_seconds"):
            steps = run[clock]["steps"]
            found = forecast([(seconds, work) for seconds, work in steps[1:20]], len(steps) - 20, sum(work for _, work in steps[20:]))
            real = sum(seconds for seconds, _ in steps[20:])
            assert found / real - 1 == pytest.approx(run[clock]["error"], abs=1e-3)
        # The CPU time that a process gets for its work hardly depends on what else runs.
        assert abs(run["cpu_seconds"]["error"]) < 0.02
