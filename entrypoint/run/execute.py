"""Plan -> effects, one step at a time. The only module that has the processes of a plan started."""

import errno
import json
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from entrypoint.run.access import check_folder, refused_in_words
from entrypoint.run.checkpoints import CHECKPOINTS
from entrypoint.run.child import describe_exit, replace_process, run_process
from entrypoint.run.disk_speed import know_disk
from entrypoint.run.events import Events, say
from entrypoint.run.history import remember
from entrypoint.run.memory_kills import ended_by_memory, memory_kills
from entrypoint.run.seal import seal, write_durably
from entrypoint.run.store import Held, Store, set_aside
from entrypoint.run.transfer import describe_bytes, folder_bytes
from schemas.errors import TOLD, CaissonError, GateRefused, Interrupted, MachineError, StepFailed, UsageError
from schemas.job import Task
from schemas.manifest import Manifest
from schemas.plan import Plan, Step

REFUSED = (UsageError.exit_code, GateRefused.exit_code)
POLL_SECONDS = 1.0
SEEN_SECONDS = 30.0
"""For what one node wrote to be seen on another: network file systems remember for so long what is not there."""

STARTS_ANEW = ("fetch", "prepare")
"""Stages of which a refused attempt is of no more use; what an export was refused for is there to be looked at."""


MEASURES = ("fetch", "prepare", "train")
"""Stages after which the disk is measured where it is not known: the next plan of train counts with it."""


class Told(Exception):
    """A leaf has printed its own error; only its exit code is passed on."""

    def __init__(self, exit_code: int):
        self.exit_code = exit_code
        super().__init__(f"exit {exit_code}")


Launch = Callable[[Step, tuple[str, ...], dict[str, str], int | None], int]
"""Starts the step's process, which inherits the lock where this node holds it."""


def execute(plan: Plan, store: Store, launch: Launch | None = None) -> None:
    """Run each step that is not sealed yet. Raises the error of the first that fails."""
    _need_temporary_folder()
    for step in plan.steps:
        with _words_for_the_store(step, store):
            _run(step, plan.name, store, launch or launch_process)


def _need_temporary_folder() -> None:
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        raise MachineError(f"no folder takes temporary files: {error.strerror}", "let /tmp be written, or name another folder in TMPDIR") from None


@contextmanager
def _words_for_the_store(step: Step, store: Store) -> Iterator[None]:
    """A full disk, a wrong owner, or something in the way of the run's own files."""
    try:
        with refused_in_words(store.root):
            yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise MachineError(f"{step.stage}: no space left on the store {store.root}; nothing was sealed", "make room and run the same command again") from None


def _run(step: Step, name: str, store: Store, launch: Launch) -> None:
    """Lead where the lock is free. Where another node leads, help it once and wait until it has sealed; if it dies before, lead."""
    helped = False
    while not store.find(step):
        try:
            with store.lock(step) as descriptor:
                if not store.find(step):  # else sealed by another run while this one came for the lock
                    _lead(step, name, store, launch, descriptor)
                return
        except Held:
            if _nodes(step) == 1:
                raise
        if not helped:
            _help(step, name, store, launch)
            helped = True
        time.sleep(POLL_SECONDS)
    say(f"{step.stage}: {step.title}: {'sealed by the node that leads' if helped else 'up to date'} ({step.folder}/{step.id})")


def _nodes(step: Step) -> int:
    return step.job.nodes if step.job.stage == "train" else 1


def _lead(step: Step, name: str, store: Store, launch: Launch, lock: int) -> None:
    """Run the step's process and seal what it made."""
    for own in (store.partial(step), store.partial(step) / CHECKPOINTS):
        if own.exists():
            check_folder(own)
    _check_room(step, store)
    for role, folder in step.inputs.items():
        store.verify(folder, role)
    partial, final = store.partial(step), store.final(step)
    if final.exists():  # sealed once and damaged since
        set_aside(final)
    done = _was_done(step, name, store)
    partial.mkdir(parents=True, exist_ok=True)
    task, path = write_task(step, name, store)
    events = Events(Path(task.events))
    events.write("started", stage=step.stage, identity=step.identity, folder=step.folder)
    start, kills = time.monotonic(), memory_kills()
    if not done:
        argv = _argv(step, path)
        code = launch(step, argv, step.environment, lock)
        if code in REFUSED and step.stage in STARTS_ANEW:
            shutil.rmtree(partial, ignore_errors=True)
            path.unlink(missing_ok=True)
        _judge(code, step, argv, task.events, kills)
    store.check_lock(step, lock)
    left = json.loads(_summary(step, Path(task.summary)))
    seal(partial, final, _manifest(step, name, left))
    Path(task.summary).unlink()
    path.unlink()
    seconds = time.monotonic() - start
    if step.stage in MEASURES:
        know_disk(store.root)
    if learned := left["summary"].get("measured"):
        remember(store.root, learned)
    events.write("sealed", stage=step.stage, identity=step.identity, seconds=round(seconds, 3))
    say(f"{step.stage}: {step.title}: sealed {step.folder}/{step.id} in {seconds:.0f} s")


def _summary(step: Step, path: Path) -> str:
    """What the first process left. Of several nodes another may have had it: it is seen here a little later, or that node died too early."""
    end = time.monotonic() + (SEEN_SECONDS if _nodes(step) > 1 else 0)
    while not path.is_file() and time.monotonic() < end:
        time.sleep(POLL_SECONDS)
    if _nodes(step) > 1 and not path.is_file():
        raise Interrupted(f"{step.stage}: the node of the first process died before it had said what was made", "run the same command again on every node")
    return path.read_text(encoding="utf-8")


def _was_done(step: Step, name: str, store: Store) -> bool:
    """Whether all the work of several nodes was done when the one that led died: the others have ended and would not come again."""
    summary = Path(task_of(step, name, store).summary)
    if _nodes(step) > 1 and store.partial(step).is_dir():
        return summary.is_file()
    summary.unlink(missing_ok=True)  # of an artifact that was sealed
    return False


def _help(step: Step, name: str, store: Store, launch: Launch) -> None:
    """Run this node's part of a step that another node leads: it seals, writes the events, and keeps the lock."""
    say(f"{step.stage}: {step.title}: joins the node that writes {step.folder}/{step.id}")
    for role, folder in step.inputs.items():
        store.verify(folder, role)
    task = task_of(step, name, store)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "task.json"
        path.write_text(task.model_dump_json(indent=2), encoding="utf-8")
        argv = _argv(step, path)
        if not Path(task.summary).is_file():  # else all ranks have ended well, and only the seal is still to come: no node would meet this one
            kills = memory_kills()
            _judge(launch(step, argv, step.environment, None), step, argv, task.events, kills)


def _judge(code: int, step: Step, argv: tuple[str, ...], events: str, kills: int) -> None:
    """Raise what a process that did not end well stands for; `kills` is what `memory_kills` said before it was started."""
    if code in TOLD:
        raise Told(code)
    if code == -signal.SIGKILL:
        raise ended_by_memory(f"{step.stage}: {step.title}", kills)
    if code:
        raise StepFailed(
            f"{step.stage}: {step.title} ended with {describe_exit(code)}: {' '.join(argv)}",
            f"its output is above; events: {events}; the same command tries again",
        )


def attend(step: Step, name: str, store: Store, *, ends: bool = False) -> None:
    """Run the step's process until somebody stops it. For serve, which seals nothing and never ends well by itself: an engine
    that dies lets its server end with 0. `ends`: for what does end well, as sides."""
    for role, folder in step.inputs.items():
        store.verify(folder, role)
    _need_temporary_folder()
    with _words_for_the_store(step, store):
        store.make_folder(step)
        task, path = write_task(step, name, store)
        events = Events(Path(task.events))
        events.write("started", stage=step.stage, identity=step.identity)
    kills = memory_kills()
    code, stopped = run_process(_argv(step, path), step.environment)
    events.write("ended", stage=step.stage, exit_code=code, stopped=stopped)
    if stopped:
        say(f"{step.stage}: stopped")
        return
    if ends and not code:
        return
    if code in TOLD:
        raise Told(code)
    if code == -signal.SIGKILL:
        raise ended_by_memory(f"{step.stage}: {step.title}", kills)
    raise StepFailed(
        f"{step.stage}: {step.title} ended by itself, with {describe_exit(code)}",
        f"why is in its output above; events: {task.events}; the same command tries again",
    )


def task_of(step: Step, name: str, store: Store) -> Task:
    """What the leaf is told."""
    return Task(
        name=name,
        job=step.job,
        inputs={role: str(store.root / folder) for role, folder in step.inputs.items()},
        image_lock=step.image_lock,
        output=str(store.partial(step)),
        events=str(store.logs(name) / f"{step.stage}.jsonl"),
        summary=str(store.root / step.folder / f".summary-{step.work_id}.json"),
    )


def write_task(step: Step, name: str, store: Store) -> tuple[Task, Path]:
    """The document that the leaf reads, beside the artifact that it is for."""
    task = task_of(step, name, store)
    path = store.root / step.folder / f".task-{step.work_id}.json"
    write_durably(path, task.model_dump_json(indent=2))
    return task, path


def launch_process(step: Step, argv: tuple[str, ...], environment: dict[str, str], lock: int | None) -> int:
    """Run one process in the foreground; a signal to this one goes on to it, and means: stop and keep what is needed to go on."""
    code, stopped = run_process(argv, environment, *(() if lock is None else (lock,)))
    if stopped and code not in (0, Interrupted.exit_code):  # 75: the leaf has said so itself
        raise Interrupted(f"{step.stage} was stopped", "run the same command again: it goes on from the last checkpoint")
    return code


def _argv(step: Step, task: Path) -> tuple[str, ...]:
    return tuple(str(task) if part == "{task}" else part for part in step.argv)


def _check_room(step: Step, store: Store) -> None:
    """Raise MachineError where less is free than is still to come: an earlier attempt may have left the most of it."""
    if not step.disk_bytes or step.stage == "train":  # it loses nothing where a save does not fit, and keeps fewer checkpoints than it may
        return
    needed, free = step.disk_bytes - folder_bytes(store.partial(step)), shutil.disk_usage(store.root).free
    if free < needed:
        raise MachineError(
            f"{step.stage}: {step.title} needs {describe_bytes(needed)} more on the store, {describe_bytes(free)} are free", f"make room under {store.root}"
        )


def _manifest(step: Step, name: str, left: dict[str, dict[str, Any]]) -> Manifest:
    return Manifest(
        stage=step.stage,
        name=name,
        identity=step.identity,
        request=step.request,
        inputs=step.input_contents,
        job=step.job.model_dump(mode="json"),
        image_lock=step.image_lock,
        program=_program(),
        versions=left["versions"],
        summary=left["summary"],
        files=(),
    )


def _program() -> str:
    from entrypoint import __version__

    return __version__


__all__ = ["CaissonError", "Told", "attend", "execute", "replace_process"]
