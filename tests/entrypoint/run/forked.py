"""Leaves in processes that are forked from this one after its imports, which take most of a short training's time."""

import os
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

import bitsandbytes
import deepspeed
import torch
import trl
from tiny import spec

import entrypoint.run.sealed_trainer
from entrypoint.chain import follow, machine, read_spec
from entrypoint.plan.export import GOLDEN_TOKENS
from entrypoint.run.events import Events
from entrypoint.run.store import Store
from schemas.errors import CaissonError
from schemas.job import ExportJob, Task

PORT = 29_611
IMPORTED = (bitsandbytes, deepspeed, trl, entrypoint.run.sealed_trainer)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import deepspeed.runtime.zero.muon.muon_optimizer  # what DeepSpeed imports at its start takes torch's compiler along

torch.set_num_threads(1)
"""A process that has computed with several cannot be forked: the other one would wait for threads that it does not have."""


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
    children = [_fork(task, rank, ranks, log) for rank in range(ranks)]
    if kill_after is not None:
        events = Path(task.events)
        before = events.read_text().count('"event": "step"') if events.exists() else 0
        while not events.exists() or events.read_text().count('"event": "step"') < before + kill_after:
            assert os.waitpid(children[0], os.WNOHANG)[0] == 0, log.read_text()
            time.sleep(0.005)
        for child in children:
            os.kill(child, signal.SIGKILL)
    codes = [os.waitpid(child, 0)[1] for child in children]
    said = log.read_text()
    assert kill_after is not None or codes == [0] * ranks, said
    return said


def _fork(task: Task, rank: int, ranks: int, log: Path) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        stream = log.open("a", buffering=1)
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        sys.stdout = sys.stderr = stream
        _work(task, rank, ranks)
        code = 0
    except CaissonError as error:
        print(f"{error} [{type(error).__name__}]", flush=True)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _work(task: Task, rank: int, ranks: int) -> None:
    if ranks > 1:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(PORT)}
    os.environ |= {"GLOO_SOCKET_IFNAME": "lo", "DS_ACCELERATOR": "cpu", "TOKENIZERS_PARALLELISM": "false"}
    warnings.simplefilter("ignore")  # pytest makes errors of them, a process of its own does not
    from entrypoint.run.export import export
    from entrypoint.run.train import train

    {"train": train, "export": export}[task.job.stage](task, Events(Path(task.events)))
