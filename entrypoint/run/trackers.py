"""Experiment trackers of a training: what they are told, and that they cannot stop it."""

import secrets
import shutil
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from entrypoint.run.events import Events, say
from entrypoint.run.leaf import versions
from entrypoint.run.progress import peak_gib
from entrypoint.run.tracker_clients import Run, make_client
from entrypoint.run.tracker_worker import Row, Worker, kind_of
from schemas.errors import MachineError
from schemas.job import Task, TrainJob
from schemas.track import CLOSE_SECONDS, TrackerJob


class Trackers(TrainerCallback):
    """Adds speed, memory and time to the trainer's history, and has a worker a tracker deliver it. For the first rank."""

    def __init__(self, task: Task, events: Events):
        assert isinstance(task.job, TrainJob)
        self.task, self.jobs, self.events = task, task.job.track, events
        self.keys = {job.kind: read_key(job) for job in self.jobs}
        self.workers: list[Worker] = []
        self.tokens = self.stepped = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the workers over a history that a resume has brought back."""
        self.run_id = _run_id(Path(self.task.output))
        self.tokens = max((row.get("num_tokens", 0.0) for row in state.log_history), default=0.0)
        self.stepped = time.monotonic()
        self.workers = [self._start(job, state.log_history) for job in self.jobs]

    def _start(self, job: TrackerJob, history: list[Row]) -> Worker:
        config = {"name": self.task.name, "train": self.task.job.model_dump(mode="json", exclude={"stage", "track"}), "versions": versions()}
        key, folder = self.keys[job.kind], Path(self.task.output) / job.kind
        worker = Worker(
            job, lambda online: make_client(Run(self.task.name, job, online, folder, config, self.run_id, key)), history, self.events, say, key
        )  # fmt: skip
        worker.start()
        worker.tell(len(history))
        return worker

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        """The row is in the trainer's history already: what is measured here goes into it, and so into the checkpoint and curve.json."""
        row, now = state.log_history[-1], time.monotonic()
        row["time"] = round(time.time(), 3)
        if kind_of(row) == "train":
            tokens = row.get("num_tokens", self.tokens)
            row["tokens_per_second"] = round((tokens - self.tokens) / max(1e-9, now - self.stepped), 1)
            row["peak_memory_gib"] = peak_gib()
            self.tokens = tokens
        self.stepped = now
        if control.should_training_stop and state.global_step < state.max_steps and kind_of(row) != "train":
            return  # totals, and an evaluation in mid-epoch, of an attempt that stops: no checkpoint has them, the run that goes on will not
        for worker in self.workers:
            worker.tell(len(state.log_history))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Wait until every tracker has everything and its files are whole; one that does not come to an end is left behind."""
        finished = state.global_step >= state.max_steps
        stuck = _close(self.workers, finished)
        for worker in stuck:
            what = f"not done {CLOSE_SECONDS:.0f} s after the last step"
            self.events.write("tracker_failed", tracker=worker.job.kind, what=what, failures=worker.failures + 1)
            say(
                f"  tracker {worker.job.kind}: {what}; left behind"
                + (", the run is written into the artifact" if worker.online else ", curve.json has every row")
            )
            # What it may still write must not be sealed.
            shutil.rmtree(Path(self.task.output) / worker.job.kind, ignore_errors=True)
        spare = [self._start(worker.job.model_copy(update={"online": False}), state.log_history) for worker in stuck if worker.online]
        for worker in _close(spare, finished):
            shutil.rmtree(Path(self.task.output) / worker.job.kind, ignore_errors=True)


def _close(workers: list[Worker], finished: bool) -> list[Worker]:
    """Those that are not done in time."""
    for worker in workers:
        worker.close(finished)
    deadline = time.monotonic() + CLOSE_SECONDS
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
    return [worker for worker in workers if worker.is_alive()]


def read_key(job: TrackerJob) -> str | None:
    """The key in the job's file, None where none is needed. Its text is in no error and no environment."""
    if job.key_file is None:
        return None
    path = Path(job.key_file)
    fix = f"write the key alone into a file and run with {job.kind.upper()}_KEY_FILE=FILE and compose/track.yaml, or take the server out of `track`"
    try:
        key = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        key = ""
    except (PermissionError, IsADirectoryError, UnicodeDecodeError) as error:
        raise MachineError(f"track: the key file {path} of {job.kind} cannot be read ({type(error).__name__})", fix) from None
    if not key and job.kind != "mlflow":
        raise MachineError(f"track: {job.kind} is online and {path} holds no key", fix)
    if not key.isascii() or not key.isprintable() or " " in key:
        raise MachineError(f"track: {path} holds something that is not a key", fix)
    return key or None


def _run_id(output: Path) -> str:
    """One for all trackers of a run, the same after a kill."""
    place = output / "run.id"
    if not place.is_file():
        place.write_text(secrets.token_hex(4), encoding="utf-8")
    return place.read_text(encoding="utf-8")
