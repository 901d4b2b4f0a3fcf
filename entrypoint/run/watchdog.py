"""Ends a run that hangs: the stack of every thread goes to stderr, the process ends with 1, and the same command goes on.

Python's own faulthandler does it from a thread that needs no interpreter lock, so that a hang inside a library is seen too.
"""

import faulthandler
import statistics
import sys
import time
from collections import deque

REST_SECONDS = 1800.0
"""Patience where no step is expected: start-up, the first step, a validation."""

REMEMBERED = 50
"""Steps that the median is taken over."""


class Watchdog:
    """Armed anew at each step."""

    def __init__(self, times: float, at_least: float):
        self.times, self.at_least = times, at_least
        self.durations: deque[float] = deque(maxlen=REMEMBERED)
        self.last: float | None = None

    def rest(self) -> None:
        """Expect no step for a while."""
        self.last = None
        self._arm(max(REST_SECONDS, self.at_least))

    def step(self) -> None:
        """A step has ended; the next is due."""
        now = time.monotonic()
        if self.last is not None:
            self.durations.append(now - self.last)
        self.last = now
        if self.durations:
            self._arm(max(self.at_least, self.times * statistics.median(self.durations)))

    def cancel(self) -> None:
        """No more steps."""
        faulthandler.cancel_dump_traceback_later()

    def _arm(self, seconds: float) -> None:
        faulthandler.dump_traceback_later(seconds, exit=True, file=sys.stderr)
