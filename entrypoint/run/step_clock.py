"""How long steps take, and how long the rest of a run will: from what was measured, saves and validations apart."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

OUTLIER, RARE = 3.0, 0.05
"""Times the median for the same work: a step that took longer waited for something that the next ones need not. But where more than this
share of the steps, and more than one, did so, it is how the machine is: others use it too, and will go on to."""

FITTED_FROM, FITTED_SPREAD = 8, 0.05
"""Steps, and spread of their work over its mean, from which a step's fixed part can be told from what grows with its work."""

RECENT = 100
"""Steps, or half of all where that is more: a machine that has become slower stays so."""

VALIDATION_SHARE = 1 / 3
"""Of a step's time for the same tokens, until a validation was measured: one forward pass, of a forward and a backward one that takes twice as long."""


class StepClock:
    """Counts from `begin`. What goes on in `pause` is in no step."""

    def __init__(self, now: Callable[[], float] = time.monotonic):
        self.now = now
        self.mark = now()
        self.done: list[tuple[float, float]] = []
        """Seconds and work of each step of this process."""

        self.pauses: dict[str, list[float]] = {}

    def begin(self) -> None:
        """The first step is under way."""
        self.mark = self.now()

    def step(self, work: float) -> float:
        """A step with so much work has ended; its seconds."""
        now = self.now()
        seconds, self.mark = max(0.0, now - self.mark), now
        self.done.append((seconds, work))
        return seconds

    @contextmanager
    def pause(self, kind: str) -> Iterator[None]:
        """Around what happens between two steps and belongs to neither."""
        before = self.now()
        try:
            yield
        finally:
            seconds = self.now() - before
            self.mark += seconds
            self.pauses.setdefault(kind, []).append(seconds)

    @property
    def measured(self) -> list[tuple[float, float]]:
        """Steps that count: the first warms up."""
        return self.done[1:] or self.done

    def median(self) -> float | None:
        """Seconds of the middle step; None before there is one."""
        return statistics.median(seconds for seconds, _ in self.measured) if self.done else None

    def seconds_left(self, steps: int, work: float, validations: int, validation_work: float) -> float:
        """For so many further steps with so much work in all, and for so many validations of so much work each."""
        if not self.done:
            return 0.0
        found = forecast(self.measured, steps, work)
        saves = self.pauses.get("save", [])
        if saves:  # as often as so far
            found += steps * len(saves) / len(self.done) * statistics.median(saves)
        held = self.pauses.get("validation", [])
        each = statistics.median(held) if held else VALIDATION_SHARE * forecast(self.measured, 1, validation_work) if validation_work else 0.0
        return found + validations * each


def forecast(done: Sequence[tuple[float, float]], steps: int, work: float) -> float:
    """Seconds of `steps` further steps with `work` in all, from the seconds and work of those that are done; at least one is.

    A sum is wanted, so it is made of means, after the rare step that the median tells to be an outlier is left out.
    """
    recent = done[-max(RECENT, len(done) // 2) :]
    middle = statistics.median(seconds / max(one, 1e-9) for seconds, one in recent)
    kept = [(seconds, one) for seconds, one in recent if seconds <= OUTLIER * middle * max(one, 1e-9)]
    if len(recent) - len(kept) > max(1, RARE * len(recent)):
        kept = list(recent)
    seconds, works = [s for s, _ in kept], [w for _, w in kept]
    mean_seconds, mean_work = statistics.fmean(seconds), statistics.fmean(works)
    spread = statistics.pstdev(works)
    if len(kept) >= FITTED_FROM and spread > FITTED_SPREAD * mean_work:
        slope = sum((s - mean_seconds) * (w - mean_work) for s, w in kept) / (len(kept) * spread**2)
        slope = min(max(0.0, slope), mean_seconds / mean_work)  # neither part of a step takes less than no time
        return max(0.0, steps * (mean_seconds - slope * mean_work) + slope * work)
    return work * mean_seconds / max(mean_work, 1e-9)
