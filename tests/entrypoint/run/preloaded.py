"""What a forked process does; imported once, by the process that it is forked from."""

import os
import sys
import traceback
import warnings
from pathlib import Path

import bitsandbytes
import deepspeed
import torch
import trl

import entrypoint.run.sealed_trainer
from entrypoint.run.events import Events
from entrypoint.run.export import export
from entrypoint.run.prepare import prepare
from entrypoint.run.train import train
from schemas.errors import CaissonError
from schemas.job import Task

IMPORTED = (bitsandbytes, deepspeed, trl, entrypoint.run.sealed_trainer)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import deepspeed.runtime.zero.muon.muon_optimizer  # what DeepSpeed imports at its start takes torch's compiler along


def work(task: Task, rank: int, ranks: int, port: int, environment: dict[str, str], log: Path) -> None:
    """Do a task as one of `ranks` processes, in this environment; what it says, and a refusal with its class, goes to `log`."""
    stream = log.open("a", buffering=1)
    os.dup2(stream.fileno(), 1)
    os.dup2(stream.fileno(), 2)
    sys.stdout = sys.stderr = stream
    os.environ.clear()
    os.environ |= environment
    if ranks > 1:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"GLOO_SOCKET_IFNAME": "lo", "DS_ACCELERATOR": "cpu", "TOKENIZERS_PARALLELISM": "false"}
    torch.set_num_threads(1)
    code = 1
    try:
        {"prepare": prepare, "train": train, "export": export}[task.job.stage](task, Events(Path(task.events)))
        code = 0
    except CaissonError as error:
        print(f"{error} [{type(error).__name__}]", flush=True)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
