"""Plan -> effects, one step at a time. The only module that starts the processes of a plan."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from entrypoint.run.events import Events, say
from entrypoint.run.seal import seal, write_durably
from entrypoint.run.store import Store, set_aside
from entrypoint.run.transfer import describe_bytes, folder_bytes
from schemas.errors import CaissonError, GateRefused, Interrupted, MachineError, StepFailed, UsageError
from schemas.job import Task
from schemas.manifest import Manifest
from schemas.plan import Plan, Step

TOLD = {2: UsageError, 3: MachineError, 4: GateRefused, 75: Interrupted}
"""Exit codes of a leaf that has already said what is wrong."""

REFUSED = (UsageError.exit_code, GateRefused.exit_code)
STARTS_ANEW = ("fetch", "prepare")
"""Stages of which a refused attempt is of no more use; what an export was refused for is there to be looked at."""


class Told(Exception):
    """A leaf has printed its own error; only its exit code is passed on."""

    def __init__(self, exit_code: int):
        self.exit_code = exit_code
        super().__init__(f"exit {exit_code}")


Launch = Callable[[Step, tuple[str, ...], dict[str, str], int], int]


def execute(plan: Plan, store: Store, launch: Launch | None = None) -> None:
    """Run each step that is not sealed yet. Raises the error of the first that fails."""
    for step in plan.steps:
        with _words_for_a_full_disk(step, store):
            _run(step, plan.name, store, launch or launch_process)


@contextmanager
def _words_for_a_full_disk(step: Step, store: Store) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise MachineError(f"{step.stage}: no space left on the store {store.root}; nothing was sealed", "make room and run the same command again") from None


def _run(step: Step, name: str, store: Store, launch: Launch) -> None:
    if store.find(step):
        say(f"{step.stage}: {step.title}: up to date ({step.folder}/{step.id})")
        return
    with store.lock(step) as descriptor:
        if store.find(step):  # sealed by another run while this one came for the lock
            return
        _check_room(step, store)
        for role, folder in step.inputs.items():
            store.verify(folder, role)
        partial, final = store.partial(step), store.final(step)
        if final.exists():  # sealed once and damaged since
            set_aside(final)
        partial.mkdir(parents=True, exist_ok=True)
        task, path = write_task(step, name, store)
        events = Events(Path(task.events))
        events.write("started", stage=step.stage, identity=step.identity, folder=step.folder)
        start = time.monotonic()
        argv = _argv(step, path)
        code = launch(step, argv, step.environment, descriptor)
        if code in TOLD:
            if code in REFUSED and step.stage in STARTS_ANEW:
                shutil.rmtree(partial, ignore_errors=True)
                path.unlink(missing_ok=True)
            raise Told(code)
        if code:
            raise StepFailed(
                f"{step.stage}: {step.title} ended with {_describe_exit(code)}: {' '.join(argv)}",
                f"its output is above; events: {task.events}; the same command tries again",
            )
        left = json.loads(Path(task.summary).read_text(encoding="utf-8"))
        seal(partial, final, _manifest(step, name, left))
        Path(task.summary).unlink()
        path.unlink()
        seconds = time.monotonic() - start
        events.write("sealed", stage=step.stage, identity=step.identity, seconds=round(seconds, 3))
        say(f"{step.stage}: {step.title}: sealed {step.folder}/{step.id} in {seconds:.0f} s")


def attend(step: Step, name: str, store: Store) -> None:
    """Run the step's process until somebody stops it. For serve, which seals nothing and never ends well by itself: an engine
    that dies lets its server end with 0."""
    for role, folder in step.inputs.items():
        store.verify(folder, role)
    with _words_for_a_full_disk(step, store):
        store.make_folder(step)
        task, path = write_task(step, name, store)
        events = Events(Path(task.events))
        events.write("started", stage=step.stage, identity=step.identity)
    code, stopped = _run_process(_argv(step, path), step.environment)
    events.write("ended", stage=step.stage, exit_code=code, stopped=stopped)
    if stopped:
        say(f"{step.stage}: stopped")
        return
    if code in TOLD:
        raise Told(code)
    raise StepFailed(
        f"{step.stage}: {step.title} ended by itself, with {_describe_exit(code)}",
        f"why is in its output above; events: {task.events}; the same command tries again",
    )


def replace_process(module: str, *arguments: str) -> NoReturn:
    """Become `python -m module arguments`: signals then reach it directly."""
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-m", module, *arguments], dict(os.environ))


def write_task(step: Step, name: str, store: Store) -> tuple[Task, Path]:
    """The document that the leaf reads, beside the artifact that it is for."""
    beside = store.root / step.folder
    task = Task(
        name=name,
        job=step.job,
        inputs={role: str(store.root / folder) for role, folder in step.inputs.items()},
        output=str(store.partial(step)),
        events=str(store.logs(name) / f"{step.stage}.jsonl"),
        summary=str(beside / f".summary-{step.id}.json"),
    )
    path = beside / f".task-{step.id}.json"
    write_durably(path, task.model_dump_json(indent=2))
    return task, path


def launch_process(step: Step, argv: tuple[str, ...], environment: dict[str, str], lock: int) -> int:
    """Run one process in the foreground; a signal to this one goes on to it, and means: stop and keep what is needed to go on."""
    code, stopped = _run_process(argv, environment, lock)
    if stopped and code not in (0, Interrupted.exit_code):  # 75: the leaf has said so itself
        raise Interrupted(f"{step.stage} was stopped", "run the same command again: it goes on from the last checkpoint")
    return code


def _run_process(argv: tuple[str, ...], environment: dict[str, str], *inherited: int) -> tuple[int, bool]:
    """Its exit code, and whether a signal told this process to stop."""
    stopped: list[int] = []
    children: list[subprocess.Popen[bytes]] = []

    def forward(number: int, _: FrameType | None) -> None:
        stopped.append(number)
        for child in children:
            child.send_signal(signal.SIGTERM if len(stopped) < 3 else signal.SIGKILL)

    # Handlers first: a signal while the child is being started must not end this process alone.
    before = {number: signal.signal(number, forward) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        sys.stdout.flush()
        children.append(subprocess.Popen((sys.executable, *argv[1:]), env={**os.environ, **environment}, pass_fds=inherited))
        if stopped:
            children[0].send_signal(signal.SIGTERM)
        return children[0].wait(), bool(stopped)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _argv(step: Step, task: Path) -> tuple[str, ...]:
    return tuple(str(task) if part == "{task}" else part for part in step.argv)


def _check_room(step: Step, store: Store) -> None:
    """Raise MachineError where less is free than is still to come: an earlier attempt may have left the most of it."""
    if not step.disk_bytes:
        return
    needed, free = step.disk_bytes - folder_bytes(store.partial(step)), shutil.disk_usage(store.root).free
    if free < needed:
        raise MachineError(
            f"{step.stage}: {step.title} needs {describe_bytes(needed)} more on the store, {describe_bytes(free)} are free", f"make room under {store.root}"
        )


def _describe_exit(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _manifest(step: Step, name: str, left: dict[str, dict[str, str]]) -> Manifest:
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
