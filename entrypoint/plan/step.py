"""Job -> Step: the one place that says how a stage's process is started and its artifact named."""

from collections.abc import Mapping
from typing import Any

from entrypoint.plan.identity import identity_of, request_of
from entrypoint.plan.inputs import Inputs
from entrypoint.plan.tables import LOCKS
from schemas.facts import Facts
from schemas.job import Job
from schemas.plan import Step

TASK = "{task}"
"""Stands in argv for the task file that the executor writes."""

IMAGE = {"fetch": "train", "prepare": "train", "answers": "train", "train": "train", "export": "export", "serve": "serve-vllm", "evaluate": "evaluate"}
"""The image whose packages do a stage's work."""


def make_step(
    job: Job,
    title: str,
    folder: str,
    facts: Facts,
    inputs: Inputs,
    roles: tuple[str, ...],
    wanted: Mapping[str, Any],
    *,
    launcher: tuple[str, ...] = ("python", "-m"),
    leaf: str | None = None,
    environment: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
    disk_bytes: int = 0,
    work: str = "",
    stop_seconds: int = 0,
    image: str = "",
) -> Step:
    """A step whose identity is empty while one of its inputs is not sealed yet. `image`: where it is not the stage's usual one."""
    folders, contents = inputs.of(*roles)
    complete = len(folders) == len(roles)
    lock = LOCKS.get(image or IMAGE[job.stage], {}).get(facts.device, "")
    return Step(
        stage=job.stage,
        title=title,
        argv=(*launcher, f"entrypoint.run.{leaf or job.stage}", TASK),
        environment=dict(environment or {}),
        job=job,
        inputs=folders,
        input_contents=contents,
        folder=folder,
        identity=identity_of(job.stage, job, contents, extra or {}, facts.program, lock) if complete else "",
        request=request_of(job.stage, wanted, contents) if complete else "",
        work=work,
        disk_bytes=disk_bytes,
        stop_seconds=stop_seconds,
        image_lock=lock,
    )
