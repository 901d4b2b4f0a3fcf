"""Keeps one model served: restarts an engine that dies or hangs, follows what is current, and tells the gateway what is active."""

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from entrypoint.run.control import Control
from entrypoint.run.engine import KILL_SECONDS, EndedItself, Engine, Stopped
from entrypoint.run.events import Events, say
from schemas.errors import CaissonError, StepFailed
from schemas.serve_job import ServeJob

TICK_SECONDS = 0.5
BEAT_SECONDS = 5.0
LOOK_SECONDS = 2.0
"""Between two looks at what is current."""

FOLLOW_SECONDS = 30.0
"""For the gateway to take over a change."""

STOP_SECONDS = 3.0
"""For the same, where serve itself ends."""


class Choice(Protocol):
    """Which export is to be served."""

    def wanted(self) -> Path | None:
        """Its folder; None where nothing is chosen, or the choice cannot be read just now."""

    def verify(self, folder: Path) -> None:
        """Read every byte; raises GateRefused for one that is damaged."""

    def refuse(self, folder: Path, serves: Path, why: str) -> None:
        """It did not come to serve: what serves is the choice again."""

    def beyond(self, keep: int) -> int:
        """How many former exports are older than the last `keep`."""


@dataclass
class Boot:
    """An engine on its way, in a thread of its own: the loop looks after the one that serves meanwhile."""

    folder: Path
    port: int
    promotes: bool = False
    """It is to replace another export."""

    instead_of: Engine | None = None
    """What has to end first, since memory does not hold both."""

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
    """`start` makes an engine over an export's folder on a port."""

    def __init__(self, job: ServeJob, events: Events, control: Control, start: Callable[[Path, int], Engine], choice: Choice):
        self.job, self.events, self.control, self.choice = job, events, control, choice
        self._start = start
        self.stopping = threading.Event()
        self.active: Engine | None = None
        self.boot: Boot | None = None
        self.serves = Path()
        self._faults: list[float] = []
        self._retiring: list[tuple[Engine, threading.Thread]] = []
        self._given_up: set[Path] = set()
        self._beat = self._looked = 0.0
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
            boots = (self.boot.engine, self.boot.instead_of) if self.boot else ()
            for engine in (self.active, *boots, *(engine for engine, _ in self._retiring)):
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
            if boot.promotes:
                self.choice.verify(boot.folder)
            if boot.instead_of:
                boot.instead_of.end(self.job.drain_seconds + KILL_SECONDS)
            engine = boot.engine = self._start(boot.folder, boot.port)
            self.events.write("loading", stage="serve", export=engine.export, port=boot.port)
            engine.load(self.stopping.is_set)
            engine.pass_gate()
            engine.watch()
            boot.passed = True
        except (CaissonError, EndedItself, Stopped) as error:
            boot.error = error
            if boot.engine:
                boot.engine.end()

    def _activate(self, boot: Boot) -> int:
        """The engine serves from now on; returns the generation in which that is said."""
        assert boot.engine
        self.active, self.serves = boot.engine, boot.folder
        self._retry_after = max(5, round(self.active.load_seconds))
        self.control.health = {"export": self.active.export}
        generation = self.control.tell("ready", models=self.active.models, upstream=self.active.upstream, retry_after=self._retry_after)
        self.events.write(
            "ready", stage="serve", export=self.active.export, port=self.active.port, seconds=round(self.active.load_seconds, 1), cache_tokens=self.active.capacity,
            cache_tokens_first=self.active.capacity_before or self.active.capacity,
        )  # fmt: skip
        say(f"serve: {self.job.served_name} is ready: export {self.active.export}, loaded in {self.active.load_seconds:.0f} s")
        return generation

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
        self._retiring = [(engine, thread) for engine, thread in self._retiring if thread.is_alive()]
        if self.boot is None and not self.stopping.is_set():
            if self.active is None:
                self._begin(Boot(self.serves, self._free_port()))
            elif time.monotonic() - self._looked > LOOK_SECONDS:
                self._looked = time.monotonic()
                self._follow(self.active)

    def _follow(self, active: Engine) -> None:
        """Start towards what is current, where that is another export than the one that serves."""
        wanted = self.choice.wanted()
        if wanted is None or wanted == self.serves or wanted in self._given_up:
            return
        # Without a gateway nobody would find an engine on another port.
        overlaps = self.job.handover == "overlap" and self.control.has_gateway()
        self.events.write("promoting", stage="serve", export=wanted.name, serves=self.serves.name, handover="overlap" if overlaps else "restart")
        say(
            f"serve: {wanted.name} is current: {'its engine starts beside that of' if overlaps else 'its engine starts in place of that of'} {self.serves.name}"
        )
        if overlaps:
            self._begin(Boot(wanted, self._free_port(), promotes=True))
        else:
            self.active = None
            self._tell_loading()
            self._begin(Boot(wanted, active.port, promotes=True, instead_of=active))

    def _free_port(self) -> int:
        taken = {engine.port for engine, _ in self._retiring} | ({self.active.port} if self.active else set())
        return next((port for port in self.job.ports if port not in taken), self.job.ports[0])

    def _keep_beating(self) -> None:
        if time.monotonic() - self._beat > BEAT_SECONDS:
            self._beat = time.monotonic()
            self.control.beat(**({"sign_of_life": round(time.time() - self.active.silent(), 1)} if self.active else {}))

    def _conclude(self, boot: Boot) -> None:
        old = self.active
        if boot.passed:
            generation = self._activate(boot)
            if boot.promotes:
                self._say_promoted(boot, old)
            if old:
                self._retire(old, generation)
        elif isinstance(boot.error, Stopped):
            pass
        elif boot.promotes:
            self._refuse(boot)
        else:
            self._count(f"it did not come back: {boot.reason}")

    def _say_promoted(self, boot: Boot, old: Engine | None) -> None:
        former = old or boot.instead_of
        self.events.write("promoted", stage="serve", export=boot.folder.name, former=former.export if former else "")
        if beyond := self.choice.beyond(self.job.keep):
            say(f"serve: {beyond} former export(s) are older than the last {self.job.keep}: `caisson exports SPEC --prune` removes them")

    def _refuse(self, boot: Boot) -> None:
        """The new export does not serve: the old one does, or comes back."""
        why = str(boot.reason)
        self.events.write("promotion_failed", stage="serve", export=boot.folder.name, serves=self.serves.name, what=why)
        print(f"caisson: serve: {boot.folder.name} is not served: {why}", file=sys.stderr, flush=True)
        say(f"serve: {self.serves.name} {'goes on' if self.active else 'comes back'}, and is current again")
        self._given_up.add(boot.folder)
        try:
            self.choice.refuse(boot.folder, self.serves, why)
        except CaissonError as error:
            print(f"caisson: serve: what is current could not be put back: {error}", file=sys.stderr, flush=True)
        else:
            self._given_up.discard(boot.folder)

    def _retire(self, old: Engine, generation: int) -> None:
        """It takes no new requests once the gateway has turned to the other one; those in flight finish."""

        def end() -> None:
            followed = self._wait_for_gateway(generation, FOLLOW_SECONDS)
            by_itself = old.end(self.job.drain_seconds + KILL_SECONDS)
            self.events.write("drained", stage="serve", export=old.export, by_itself=by_itself, gateway_followed=followed)

        thread = threading.Thread(target=end, daemon=True)
        self._retiring.append((old, thread))
        thread.start()

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
        for _, thread in self._retiring:
            thread.join(self.job.drain_seconds + KILL_SECONDS)
        if self.active:
            self._wait_for_gateway(generation, STOP_SECONDS)
            by_itself = self.active.end(self.job.drain_seconds + KILL_SECONDS)
            self.events.write("drained", stage="serve", export=self.active.export, by_itself=by_itself)

    def _wait_for_gateway(self, generation: int, seconds: float) -> bool:
        """Whether the gateway has taken over a generation; at once where there is none."""
        start = time.monotonic()
        while self.control.has_gateway() and not self.control.has_followed(generation):
            if time.monotonic() - start > (min(seconds, STOP_SECONDS) if self.stopping.is_set() else seconds):
                return False
            time.sleep(TICK_SECONDS / 2)
        return True
