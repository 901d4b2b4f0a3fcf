"""Keeps one model served: restarts an engine that dies or hangs, follows what is current, and tells the gateway what is active."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from entrypoint.run.control import Control
from entrypoint.run.engine import KILL_SECONDS, EndedItself, Engine, Stopped
from entrypoint.run.events import Events, say
from schemas.errors import CaissonError, StepFailed
from schemas.serve_job import ServeJob

TICK_SECONDS = 0.5
BEAT_SECONDS = 5.0
FOLLOW_SECONDS = 30.0
"""For the gateway to take over a change."""


@dataclass
class Boot:
    """An engine on its way, in a thread of its own: the loop looks after the one that serves meanwhile."""

    folder: Path
    port: int
    promotes: bool = False
    """It is to replace an export that serves, or served until it was stopped for this one."""

    engine: Engine | None = None
    passed: bool = False
    error: CaissonError | EndedItself | Stopped | None = None
    thread: threading.Thread = field(default_factory=threading.Thread)

    @property
    def is_done(self) -> bool:
        """Whether it has come to an end, good or bad."""
        return not self.thread.is_alive()

    @property
    def reason(self) -> Exception:
        """Why it has not passed; what its thread has not caught is an error of ours, whose traceback is printed already."""
        return self.error or RuntimeError("the thread that brought an engine up ended with an error")


class Supervisor:
    """`start` makes an engine over an export's folder on a port; `wanted` says which folder is current."""

    def __init__(self, job: ServeJob, events: Events, control: Control, start: Callable[[Path, int], Engine]):
        self.job, self.events, self.control = job, events, control
        self._start = start
        self.stopping = threading.Event()
        self.active: Engine | None = None
        self.boot: Boot | None = None
        self.serves = Path()
        self._faults: list[float] = []
        self._beat = 0.0
        self._retry_after = 30

    def run(self, folder: Path) -> None:
        """Serve until `stopping` is set; returns when everything has ended. Raises why it cannot."""
        self.serves = folder
        self._tell_loading()
        try:
            self._first(folder)
            while not self.stopping.wait(TICK_SECONDS):
                self._tick()
            self._drain()
        finally:
            for engine in (self.active, self.boot.engine if self.boot else None):
                if engine:
                    engine.kill()

    def _first(self, folder: Path) -> None:
        """What fails at the first start would fail at the next: it ends serve with its own words and code."""
        self._begin(Boot(folder, self.job.ports[0]))
        assert self.boot
        while not self.boot.is_done:
            self.boot.thread.join(TICK_SECONDS)
            self._keep_beating()
        boot, self.boot = self.boot, None
        if isinstance(boot.error, Stopped):
            return
        if not boot.passed:
            self.control.tell("failed", models=[self.job.served_name])
            raise boot.reason
        self._activate(boot)

    def _begin(self, boot: Boot) -> None:
        self.boot = boot
        boot.thread = threading.Thread(target=self._bring_up, args=(boot,), daemon=True)
        boot.thread.start()

    def _bring_up(self, boot: Boot) -> None:
        try:
            engine = boot.engine = self._start(boot.folder, boot.port)
            self.events.write("loading", stage="serve", export=engine.export, port=boot.port)
            engine.load(self.stopping.is_set)
            engine.pass_gate(self.events)
            engine.watch()
            boot.passed = True
        except (CaissonError, EndedItself, Stopped) as error:
            boot.error = error
            if boot.engine:
                boot.engine.end()

    def _activate(self, boot: Boot) -> None:
        """The engine serves from now on."""
        assert boot.engine
        self.active, self.serves = boot.engine, boot.folder
        self._retry_after = max(5, round(self.active.load_seconds))
        self.control.health = {"export": self.active.export}
        self.control.tell("ready", models=[self.job.served_name], upstream=self.active.upstream, retry_after=self._retry_after)
        self.events.write(
            "ready", stage="serve", export=self.active.export, port=self.active.port, seconds=round(self.active.load_seconds, 1), cache_tokens=self.active.capacity
        )  # fmt: skip
        say(f"serve: {self.job.served_name} is ready: export {self.active.export}, loaded in {self.active.load_seconds:.0f} s")

    def _tell_loading(self) -> None:
        self.control.health = {"export": self.serves.name}
        self.control.tell("loading", models=[self.job.served_name], retry_after=self._retry_after)

    def _tick(self) -> None:
        """One look at everything."""
        self._keep_beating()
        if self.active and (why := self.active.fault()):
            self._lose(why)
        if self.boot and self.boot.is_done:
            boot, self.boot = self.boot, None
            self._conclude(boot)
        if self.active is None and self.boot is None and not self.stopping.is_set():
            self._begin(Boot(self.serves, self.job.ports[0]))

    def _keep_beating(self) -> None:
        if time.monotonic() - self._beat > BEAT_SECONDS:
            self._beat = time.monotonic()
            self.control.beat(**({"sign_of_life": round(time.time() - self.active.silent(), 1)} if self.active else {}))

    def _conclude(self, boot: Boot) -> None:
        if boot.passed:
            self._activate(boot)
        elif not isinstance(boot.error, Stopped):
            self._count(f"it did not come back: {boot.reason}")

    def _lose(self, why: str) -> None:
        """The engine that served does so no more."""
        assert self.active
        lost, self.active = self.active, None
        self.events.write("lost", stage="serve", export=lost.export, why=why)
        say(f"serve: the engine of {lost.export} is gone: {why}")
        self._tell_loading()
        lost.kill()
        self._count(why)

    def _count(self, why: str) -> None:
        """Raise StepFailed where engines are lost too often for another start to help."""
        now = time.monotonic()
        self._faults = [at for at in self._faults if now - at < self.job.restart_seconds] + [now]
        if len(self._faults) > self.job.restarts:
            self.control.tell("failed", models=[self.job.served_name])
            raise StepFailed(
                f"serve: the engine of {self.job.served_name} was lost {len(self._faults)} times within {self.job.restart_seconds / 60:.0f} minutes; the last time: {why}",
                "why is in its output above; the same command tries again",
            )

    def _drain(self) -> None:
        """No new requests; those in flight finish."""
        generation = self.control.tell("loading", models=[self.job.served_name], retry_after=self._retry_after)
        if self.boot:
            self.boot.thread.join(KILL_SECONDS)
        if self.active:
            self._wait_for_gateway(generation, 3.0)
            by_itself = self.active.end(self.job.drain_seconds + KILL_SECONDS)
            self.events.write("drained", stage="serve", export=self.active.export, by_itself=by_itself)

    def _wait_for_gateway(self, generation: int, seconds: float) -> bool:
        """Whether the gateway has taken over a generation; at once where there is none."""
        deadline = time.monotonic() + seconds
        while self.control.has_gateway() and not self.control.has_followed(generation):
            if time.monotonic() > deadline:
                return False
            time.sleep(TICK_SECONDS / 2)
        return True
