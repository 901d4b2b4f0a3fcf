"""One tracker in a thread of its own: training never waits for it, and nothing that goes wrong in it reaches training.

It reads the trainer's own history from the first row on, which a checkpoint keeps: after a resume whatever a tracker lacks is told again, and
what it has is left out.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from entrypoint.run.events import Events
from schemas.track import TrackerJob

Row = Mapping[str, Any]
"""One entry of the trainer's history: numbers by name, with `step` and `time`."""

RETRY_SECONDS = 30.0
"""Between two attempts after a failure."""

BATCH = 50
"""Rows handed over at once: one request where each call is one."""

LAST_ATTEMPTS = 2
"""At the end, before the artifact takes a server's place or rows are given up."""


class Client(Protocol):
    """A tracker's library, told what to do; every method may raise anything."""

    def open(self) -> dict[str, int]:
        """Begin the run or go on with it; the last step that it has of each kind of row, where it had any before."""

    def log(self, rows: Sequence[Row]) -> None:
        """Hand rows over, oldest first."""

    def close(self, finished: bool) -> None:
        """Send what is still on the way and leave whole files; `finished` is false when training only pauses."""


Connect = Callable[[bool], Client]
"""Makes the client, for a server (true) or for the artifact."""


def kind_of(row: Row) -> str:
    """What a row reports: `train`, `eval`, or the `end` of the training."""
    if "train_loss" in row:
        return "end"
    return "eval" if any(name.startswith("eval_") for name in row) else "train"


def named(row: Row) -> dict[str, float]:
    """The numbers of a row under the names that transformers' own callbacks use: train/loss, eval/loss."""
    # The epoch stands in every row: told of all, steps with two rows would have it twice.
    apart = ("step", "time") if kind_of(row) == "train" else ("step", "time", "epoch")
    numbers = {k: float(v) for k, v in row.items() if isinstance(v, int | float) and k not in apart}
    return {f"eval/{k[5:]}" if k.startswith("eval_") else f"train/{k}": v for k, v in numbers.items()}


class Worker(threading.Thread):
    """Delivers rows to one client; after a failure it waits and tries again, and a server that stays away is replaced by the artifact."""

    def __init__(self, job: TrackerJob, connect: Connect, history: Sequence[Row], events: Events, say: Callable[[str], None], secret: str | None = None):
        super().__init__(name=f"track-{job.kind}", daemon=True)
        self.job, self.connect, self.history, self.events, self.say, self.secret = job, connect, history, events, say, secret
        self.client: Client | None = None
        self.online = job.online
        self.had: dict[str, int] = {}
        self.sent = self.until = self.failures = 0
        self.finished: bool | None = None
        self.not_before = 0.0
        self.changed = threading.Condition()

    def tell(self, rows: int) -> None:
        """The history has this many rows now."""
        with self.changed:
            self.until = rows
            self.changed.notify()

    def close(self, finished: bool) -> None:
        """No more rows will come; returns at once, `join` waits for the rest."""
        with self.changed:
            self.finished = finished
            self.changed.notify()

    def run(self) -> None:
        """Until closed."""
        last = LAST_ATTEMPTS
        while last:
            with self.changed:
                self.changed.wait_for(self._may_go, self._pause())
                ready, closing = self._may_go(), self.finished is not None
            if not ready:
                continue
            if self._deliver():
                last = 0 if closing else last
            elif closing:
                last = last - 1 or int(self._gives_way())
        self._record(
            "tracked",
            mode="online" if self.online else "offline",
            rows=self.sent,
            missing=self.until - self.sent,
            failures=self.failures,
        )
        if self.sent < self.until:
            self.say(f"  tracker {self.job.kind}: {self.until - self.sent} of {self.until} rows did not get through; curve.json has them all")

    def _may_go(self) -> bool:
        return self.finished is not None or (self.sent < self.until and time.monotonic() >= self.not_before)

    def _pause(self) -> float | None:
        return max(0.0, self.not_before - time.monotonic()) if self.sent < self.until else None

    def _deliver(self) -> bool:
        """Whether everything that is there now got through."""
        try:
            if self.client is None:
                client = self.connect(self.online)
                self.had = client.open()
                self.client = client
            while self.sent < self.until:
                batch = self.history[self.sent : min(self.until, self.sent + BATCH)]
                if fresh := [row for row in batch if row["step"] > self.had.get(kind_of(row), -1)]:
                    self.client.log(fresh)
                self.sent += len(batch)
            if self.finished is not None:
                self.client.close(self.finished)
        except Exception as error:  # whatever a library raises: training goes on without it
            self._note(error)
            if self.client is None and self._gives_way():
                return self._deliver()
            return False
        return True

    def _gives_way(self) -> bool:
        """Put the artifact in the place of a server that cannot be reached: at the start, and at the end for all rows."""
        if not self.online:
            return False
        self.online, self.client, self.sent, self.not_before = False, None, 0, 0.0
        return True

    def _record(self, event: str, **carried: Any) -> None:
        """An event that cannot be written must not end this thread: the disk that is full may have failed the tracker too."""
        with suppress(OSError):
            self.events.write(event, tracker=self.job.kind, **carried)

    def _note(self, error: Exception) -> None:
        self.failures += 1
        self.not_before = time.monotonic() + RETRY_SECONDS
        text = " ".join(f"{type(error).__name__}: {error}".split())
        text = (text.replace(self.secret, "...") if self.secret else text)[:300]
        self._record("tracker_failed", what=text, failures=self.failures)
        if self.failures == 1:
            then = "it is written into the artifact instead" if self.online and self.client is None else "it is tried again now and then"
            self.say(f"  tracker {self.job.kind}: {text}; training goes on, {then}; more of it is only counted, in the events")
