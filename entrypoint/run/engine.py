"""One engine over one export: started, loaded, through the parity gate, looked after, ended."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from entrypoint.run.adapters_served import AdaptersServed, Known
from entrypoint.run.canary import Canary
from entrypoint.run.child import describe_exit
from entrypoint.run.control import Control, digest
from entrypoint.run.engine_cache import cache_folder, differs, environment, remember_capacity
from entrypoint.run.engine_client import EngineClient
from entrypoint.run.engine_process import EngineProcess
from entrypoint.run.events import Events, say
from entrypoint.run.gated import pass_gate
from entrypoint.run.serve_parity import read_golden
from entrypoint.run.store import Store
from schemas.errors import StepFailed
from schemas.serve_job import EngineTask, ServeJob

POLL_SECONDS = 0.25
KILL_SECONDS = 15
"""After the drain: what has not ended by then is ended."""

GIVE_UP_SECONDS = 10
"""For an engine that has nothing to finish."""


BASE = "-base"
"""Behind the run's name: what the base model is called beside its adapters."""


UNCOMPILED = {"TORCHDYNAMO_DISABLE": "1"}
"""On a CPU, where the image has no C++ compiler: vLLM compiles the ranks of log-probabilities even in eager mode, so the first request that
asks for some would end the engine."""


@dataclass(frozen=True)
class Place:
    """What all engines of one serve have in common."""

    store: Store
    control: Control
    user_keys: list[bytes]
    """sha256 of each."""

    image_lock: str = ""
    base: Path | None = None
    """The folder of the base model; needed where adapters are served."""

    known: Known = field(default_factory=Known)


class Stopped(Exception):
    """Somebody stopped serve while an engine was loading."""


class EndedItself(Exception):
    """An engine's process ended before it served; it has said why."""

    def __init__(self, code: int):
        self.code = code
        super().__init__(f"its process ended with {describe_exit(code)}")


class Engine:
    """Over the export in `folder`; where adapters are served, over their `base`. Its process is started when it is made."""

    def __init__(self, job: ServeJob, folder: Path, port: int, place: Place, events: Events):
        self.job, self.folder, self.port, self._events = job, folder, port, events
        self.export = folder.name
        control = place.control
        served = (digest(control.key), *(key.hex() for key in place.user_keys))
        own = f"{job.served_name}{BASE}" if job.adapters else job.served_name  # an adapter of the run has the run's name
        self.client = EngineClient(port, control.own, own)
        at_start, fallback = job.engine != "vllm", (job.served_name, folder)
        served_adapters = AdaptersServed(self.client, place.store, job.adapters, self._gate, events, fallback, place.known, at_start=at_start)
        self.adapters = served_adapters if job.adapters else None
        task = EngineTask(
            served_name=own, model=str(place.base if job.adapters else folder), tokenizer=str(folder) if job.adapters else "", port=port,
            arguments=job.arguments, served_keys=served, own_key=digest(control.own), generation=job.generation, drain_seconds=job.drain_seconds, headless=job.headless,
            adapters={one.name: str(served_adapters.folder(one)) for one in job.adapters} if at_start else {},
        )  # fmt: skip
        self._cache = cache_folder(place.store.root, place.image_lock, folder)
        self._began = time.monotonic()
        self.process = EngineProcess(job.engine, task, environment(self._cache) | (UNCOMPILED if job.on_cpu else {}))
        self.canary: Canary | None = None
        self.load_seconds = 0.0
        self.capacity = self.capacity_before = 0

    @property
    def models(self) -> list[str]:
        """Names that requests may use."""
        return [*(place.name for place in self.job.adapters), self.client.model]

    @property
    def upstream(self) -> str:
        """Where the gateway reaches it."""
        return f"{self.job.host_name}:{self.port}"

    def load(self, is_stopped: Callable[[], bool]) -> None:
        """Wait until it answers. Raises Stopped, EndedItself, and StepFailed for one that takes too long."""
        while not (self.job.headless or self.client.is_ready()):
            if is_stopped():
                raise Stopped
            if (code := self.process.code()) is not None:
                raise EndedItself(code)
            if time.monotonic() - self._began > self.job.load_seconds:
                raise StepFailed(f"serve: the engine has not loaded its model within {self.job.load_seconds} s", "its output above shows how far it came")
            time.sleep(POLL_SECONDS)
        self.load_seconds = time.monotonic() - self._began
        if self.job.headless:
            return
        self.capacity = self.client.capacity()
        self.capacity_before = remember_capacity(self._cache, self.job.arguments, self.capacity)
        if differs(self.capacity, self.capacity_before):
            say(
                f"serve: warning: the key-value cache holds {self.capacity:,} tokens; at the first start with this model and image it held {self.capacity_before:,}"
            )

    def pass_gate(self) -> None:
        """The export, or each adapter, as the parity gate wants it. Raises GateRefused, and StepFailed where the engine does not answer."""
        if self.job.headless:
            return
        if self.adapters:
            self.adapters.load()
        else:
            self._gate(self.client, self.folder)

    def _gate(self, client: EngineClient, folder: Path) -> None:
        pass_gate(client, folder, self.folder, self._events, warns=self.job.parity == "warn")

    def watch(self, prompt: list[int] | None = None) -> None:
        """Have it looked after from now on; `prompt`: the canary's, for a model that brings no golden answers."""
        if self.job.headless:
            return
        shortest = prompt or min((g.prompt_ids for g in read_golden(self.folder)), key=len)
        self.canary = Canary(self.client, shortest, self.process.cpu_seconds if self.job.on_cpu else None)
        self.canary.start()
        if self.adapters:
            self.adapters.follow()

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

    def stop_watching(self) -> None:
        """What it says and does is nobody's business any more."""
        if self.canary:
            self.canary.stop()
        if self.adapters:
            self.adapters.stop()

    def end(self, seconds: float = GIVE_UP_SECONDS) -> bool:
        """Let it finish what it has taken on, for so many seconds; whether it ended by itself."""
        self.stop_watching()
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
        self.stop_watching()
        self.process.kill()
