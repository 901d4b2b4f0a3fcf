"""Leaves in processes that are forked from one that has only imported, as imports take most of a short training's time.

That one is not the process of the tests: theirs has computed, and a fork of it would wait for threads that it does not have.
"""

import multiprocessing
import os
import socket
import sys
import time
from multiprocessing import forkserver
from pathlib import Path
from unittest import mock

import preloaded
from tiny import spec

from entrypoint.chain import follow, machine, read_spec
from entrypoint.plan.export import GOLDEN_TOKENS
from entrypoint.run.store import Store
from schemas.export_job import ExportJob
from schemas.job import Task


def task_of(folder: Path, store: Path, sources: tuple[Path, Path], **sections: str) -> Task:
    """The task of train for a spec with these sections, as the executor would write it, with its output below `folder`."""
    os.environ["CAISSON_ACCELERATOR"] = "cpu"
    folder.mkdir(parents=True, exist_ok=True)
    wanted, place = read_spec(spec(folder, *sources, **sections)), Store(store)
    step = follow(wanted, machine(wanted, place), place, "train").plan("train").steps[0]
    inputs = {role: str(store / path) for role, path in step.inputs.items()}
    out = folder / "trained"
    out.mkdir()
    return Task(name="tiny", job=step.job, inputs=inputs, output=str(out), events=str(folder / "events.jsonl"), summary=str(folder / "summary.json"))


def export_of(task: Task, folder: Path) -> Task:
    """The task that merges what a training left."""
    out = folder / "exported"
    out.mkdir()
    job = ExportJob(kind="safetensors", dtype="bf16", golden_tokens=GOLDEN_TOKENS)
    return task.model_copy(update={"job": job, "inputs": {**task.inputs, "trained": task.output}, "output": str(out)})


def run_forked(task: Task, kill_after: int | None = None) -> str:
    """Do a task in as many processes as its job names; what they said. With `kill_after`, kill -9 all once so many steps are recorded.

    A refusal is said, and ends the line with its class.
    """
    ranks = getattr(task.job, "ranks", 1)
    log = Path(task.events).with_name("log.txt")
    log.unlink(missing_ok=True)
    context, port = _server(), _free_port()
    children = [context.Process(target=preloaded.work, args=(task, rank, ranks, port, dict(os.environ), log)) for rank in range(ranks)]
    for child in children:
        child.start()
    if kill_after is not None:
        events = Path(task.events)
        before = events.read_text().count('"event": "step"') if events.exists() else 0
        while not events.exists() or events.read_text().count('"event": "step"') < before + kill_after:
            assert children[0].is_alive(), log.read_text()
            time.sleep(0.005)
        for child in children:
            child.kill()
    for child in children:
        child.join()
    said = log.read_text()
    assert kill_after is not None or [child.exitcode for child in children] == [0] * ranks, said
    return said


def _server() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([preloaded.__name__])
    # Python 3.11's server looks for what it shall import in its own path only.
    with mock.patch.dict(os.environ, {"PYTHONPATH": os.pathsep.join(sys.path)}):
        forkserver.ensure_running()
    return context


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
