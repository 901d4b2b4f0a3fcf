"""Signs of life: tokens that move, one that comes when asked for, work on the CPU; and an engine that gives none."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from entrypoint.run import canary
from entrypoint.run.canary import Canary
from entrypoint.run.engine_client import EngineError

LOOK = 0.02


class Silent:
    """An engine that hangs: every answer is late."""

    def __init__(self) -> None:
        self.asked = 0
        self.counted = 0.0
        self.counts = False
        self.answers = False
        self.end = threading.Event()

    def tokens(self, timeout: float) -> float:
        if not self.counts:
            raise EngineError("timed out")
        self.counted += 1
        return self.counted

    def canary(self, prompt_ids: list[int], timeout: float) -> None:
        self.asked += 1
        if not self.answers:
            self.end.wait(5)
            raise EngineError("timed out")


@pytest.fixture
def engine() -> Iterator[Silent]:
    made = Silent()
    yield made
    made.end.set()


def silent_after(engine: Silent, seconds: float, cpu: Callable[[], float] | None = None) -> float:
    watched = Canary(engine, [1], cpu, LOOK)
    watched.start()
    time.sleep(seconds)
    watched.stop()
    return watched.silent()


def test_a_hung_engine_is_silent_and_asked_once_at_a_time(engine: Silent) -> None:
    assert silent_after(engine, 0.3) >= 0.3
    assert engine.asked == 1, "who hangs is not asked again and again"


def test_counters_that_move_are_a_sign(engine: Silent) -> None:
    engine.counts = True
    assert silent_after(engine, 0.3) < 0.2


def test_a_token_that_comes_is_a_sign(engine: Silent) -> None:
    engine.answers = True
    assert silent_after(engine, 0.3) < 0.2


def test_computing_on_the_cpu_is_a_sign(engine: Silent) -> None:
    assert silent_after(engine, 0.3, time.monotonic) < 0.2
    assert silent_after(engine, 0.3, lambda: 1.0) >= 0.25, "an idle one shows nothing"


def test_what_was_computed_before_is_no_sign(engine: Silent) -> None:
    """While counters moved nobody needed it: it must not be counted later."""
    engine.counts = True
    used = [0.0]
    watched = Canary(engine, [1], lambda: used[0], LOOK)
    watched.start()
    for _ in range(10):
        used[0] += 1
        time.sleep(LOOK)
    engine.counts = False
    time.sleep(3 * LOOK)
    first = watched.silent()
    time.sleep(0.2)
    watched.stop()
    assert watched.silent() >= first + 0.19


def test_computing_for_ever_is_none(engine: Silent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "BUSY_SECONDS", 0.1)
    assert silent_after(engine, 0.4, time.monotonic) >= 0.25


def test_nobody_looks_after_stop(engine: Silent) -> None:
    engine.answers = True
    silent_after(engine, 0.1)
    asked = engine.asked
    time.sleep(0.1)
    assert engine.asked <= asked + 1
