"""What a finished training says of its speed and memory, for the history."""

import json
import time
from pathlib import Path
from typing import Any

from entrypoint import __version__
from entrypoint.run.leaf import versions
from entrypoint.run.seal import read_manifest
from schemas.history import Measured, Setting, config_digest, cpu_name
from schemas.job import Task, TrainJob

ENOUGH = 5
"""Steps behind the first, without which a median says little."""


def measurement(task: Task, progress: Any, rows_at_once: int | None) -> Measured | None:
    """Of the stretch that this process trained; None for one that was too short. `rows_at_once`: where they were lowered or raised."""
    job = task.job
    assert isinstance(job, TrainJob)
    steps, seconds, rate = len(progress.clock.done) - 1, progress.clock.median(), progress.mean_rate()
    if steps < ENOUGH or not seconds or rate <= 0:
        return None
    return Measured(
        at=round(time.time(), 1), setting=setting_of(task, job, rows_at_once), steps=steps, step_seconds=round(seconds, 6), modelled_seconds=job.predicted.modelled_seconds, tokens_per_second=round(rate, 2),
        peak_bytes=progress.peak, program=__version__, versions=versions(),
    )  # fmt: skip


def setting_of(task: Task, job: TrainJob, rows_at_once: int | None) -> Setting:
    """As entrypoint.plan.history makes it of a plan: the two have to agree."""
    import torch

    rows = rows_at_once or job.micro_batch
    config: dict[str, Any] = json.loads((Path(task.inputs["model"]) / "config.json").read_bytes())
    prepared = read_manifest(Path(task.inputs["prepared"]))
    longest = prepared.summary["train"]["longest"] if prepared else 1
    return Setting(
        config=config_digest(config), device=torch.cuda.get_device_name() if job.device == "cuda" else cpu_name(torch.get_num_threads()),
        method=job.method.kind, adapter=job.adapter.kind, adapter_rank=job.adapter.rank, strategy=job.strategy, offload=job.offload, ranks=job.ranks,
        nodes=job.nodes, precision=job.precision, optimizer=job.optimisation.optimizer, gradient_checkpointing=job.gradient_checkpointing,
        kernels=job.kernels, micro_batch=rows, accumulation=-(-job.micro_batch * job.accumulation // rows), length=job.pack_length or longest,
    )  # fmt: skip
