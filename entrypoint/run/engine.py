"""One engine over one export: started, loaded, through the parity gate, looked after, ended."""

import time
from collections.abc import Callable
from pathlib import Path

from entrypoint.run.canary import Canary
from entrypoint.run.child import describe_exit
from entrypoint.run.control import Control, digest
from entrypoint.run.engine_cache import differs, environment, remember_capacity
from entrypoint.run.engine_client import EngineClient, EngineError
from entrypoint.run.engine_process import EngineProcess
from entrypoint.run.events import Events, say
from entrypoint.run.seal import read_manifest
from entrypoint.run.serve_parity import Outcome, has_template, judge, read_golden
from entrypoint.run.side_by_side import refusal
from entrypoint.run.tolerance import tolerance_of
from schemas.errors import StepFailed
from schemas.serve_job import EngineTask, ServeJob

POLL_SECONDS = 0.25
KILL_SECONDS = 15
"""After the drain: what has not ended by then is ended."""

GIVE_UP_SECONDS = 10
"""For an engine that has nothing to finish."""


class Stopped(Exception):
    """Somebody stopped serve while an engine was loading."""


class EndedItself(Exception):
    """An engine's process ended before it served; it has said why."""

    def __init__(self, code: int):
        self.code = code
        super().__init__(f"its process ended with {describe_exit(code)}")


class Engine:
    """Its process is started when it is made."""

    def __init__(self, job: ServeJob, folder: Path, port: int, control: Control, user_keys: list[bytes], cache: Path):
        self.job, self.folder, self.port = job, folder, port
        self.export = folder.name
        served = (digest(control.key), *(key.hex() for key in user_keys))
        task = EngineTask(
            served_name=job.served_name, model=str(folder), port=port, arguments=job.arguments, served_keys=served, own_key=digest(control.own)
        )  # fmt: skip
        self._began = time.monotonic()
        self._cache = cache
        self.process = EngineProcess(job.engine, task, environment(cache))
        self.client = EngineClient(port, control.own, job.served_name)
        self.canary: Canary | None = None
        self.load_seconds = 0.0
        self.capacity = self.capacity_before = 0

    @property
    def upstream(self) -> str:
        """Where the gateway reaches it."""
        return f"{self.job.host_name}:{self.port}"

    def load(self, is_stopped: Callable[[], bool]) -> None:
        """Wait until it answers. Raises Stopped, EndedItself, and StepFailed for one that takes too long."""
        while not self.client.is_ready():
            if is_stopped():
                raise Stopped
            if (code := self.process.code()) is not None:
                raise EndedItself(code)
            if time.monotonic() - self._began > self.job.load_seconds:
                raise StepFailed(f"serve: the engine has not loaded its model within {self.job.load_seconds} s", "its output above shows how far it came")
            time.sleep(POLL_SECONDS)
        self.load_seconds = time.monotonic() - self._began
        self.capacity = self.client.capacity()
        self.capacity_before = remember_capacity(self._cache, self.job.arguments, self.capacity)
        if differs(self.capacity, self.capacity_before):
            say(
                f"serve: warning: the key-value cache holds {self.capacity:,} tokens; at the first start with this model and image it held {self.capacity_before:,}"
            )

    def pass_gate(self, events: Events) -> None:
        """The parity gate. Raises GateRefused with a side-by-side of the first difference, which `parity: warn` only prints, and StepFailed
        where the engine does not answer."""
        start = time.monotonic()
        golden = read_golden(self.folder)
        manifest = read_manifest(self.folder)
        allowed = tolerance_of(manifest.job if manifest else {})
        try:
            outcome = judge(self.client, golden, allowed, chat=has_template(self.folder), limit=self.client.limit())
        except EngineError as error:
            raise StepFailed(f"serve: parity: the engine does not answer: {error}", "its output above may say why") from None
        found = outcome.difference
        refused = refusal(found, outcome.of, self.folder) if found else None
        verdict = "passed" if refused is None else "warned" if self.job.parity == "warn" else "refused"
        events.write(
            "parity", stage="serve", export=self.export, verdict=verdict, of=outcome.of, equal=outcome.equal, ties=outcome.ties, ends=outcome.ends, too_long=outcome.too_long,
            largest_difference=round(outcome.worst, 6), mean_difference=round(outcome.mean, 6), seconds=round(time.monotonic() - start, 1),
            **({"what": refused.what} if refused else {}),
        )  # fmt: skip
        if refused and self.job.parity == "refuse":
            raise refused
        say(f"serve: warning: {refused}" if refused else _passed(outcome, self.export))

    def watch(self) -> None:
        """Have it looked after from now on."""
        shortest = min((g.prompt_ids for g in read_golden(self.folder)), key=len)
        self.canary = Canary(self.client, shortest, self.process.cpu_seconds if self.job.on_cpu else None)
        self.canary.start()

    def fault(self) -> str:
        """Why it serves no more; empty while it does."""
        if (code := self.process.code()) is not None:
            return f"its process ended with {describe_exit(code)}"
        if (silent := self.silent()) > self.job.silent_seconds:
            return f"no sign of life for {silent:.0f} s"
        return ""

    def silent(self) -> float:
        """Seconds since its last sign of life."""
        return self.canary.silent() if self.canary else 0.0

    def end(self, seconds: float = GIVE_UP_SECONDS) -> bool:
        """Let it finish what it has taken on, for so many seconds; whether it ended by itself."""
        if self.canary:
            self.canary.stop()
        self.process.drain()
        deadline = time.monotonic() + seconds
        while self.process.code() is None:
            if time.monotonic() > deadline:
                self.process.kill()
                return False
            time.sleep(POLL_SECONDS)
        return True

    def kill(self) -> None:
        """End it now."""
        if self.canary:
            self.canary.stop()
        self.process.kill()


def _passed(outcome: Outcome, export: str) -> str:
    ties = f", {outcome.ties} part at a near tie" if outcome.ties else ""
    ties += f", {outcome.too_long} too long for serve.max_length to be answered" if outcome.too_long else ""
    ends = f"; the end token was honoured in {outcome.ends}" if outcome.ends else "; no golden answer ends, so the end token was not seen"
    return (
        f"serve: parity: {export}: {outcome.of} golden prompts read alike, {outcome.equal} answered token for token{ties}{ends}; "
        f"log-probabilities differ by at most {outcome.worst:.3f}, {outcome.mean:.4f} on average"
    )
