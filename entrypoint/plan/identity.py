"""Hashes that decide whether work has been done already."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from schemas.job import HOW

APART = {
    "track",
    "checkpoint_apart",
    "checkpoint_every",
    "checkpoint_seconds",
    "keep",
    "max_bad_steps",
    "reach",
    "watchdog_times",
    "watchdog_seconds",
    "predicted",
    "raising",
    "gate",
}
"""Fields of a job that decide no content that a later stage reads: a tracker that is moved, another interval or a
teacher's other address trains nothing anew."""

CHECKPOINT_FORMAT = 1
"""Counts up when checkpoints of an earlier version can no longer be read."""


def digest(value: Any) -> str:
    """sha256 of a JSON value, key order apart."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def request_of(stage: str, wanted: Mapping[str, Any], contents: Mapping[str, str]) -> str:
    """Hash of what the spec asks of a stage over given inputs, without what a machine decided."""
    return digest({"stage": stage, "wanted": dict(wanted), "inputs": dict(contents)})


def work_of(job: BaseModel, contents: Mapping[str, str], batch: int | None) -> str:
    """Hash of what two trainings have to have in common for one to go on from the other's checkpoints; `batch` is the spec's, in tokens."""
    wanted = job.model_dump(mode="json", exclude=APART | set(HOW))
    return digest({"format": CHECKPOINT_FORMAT, "job": wanted, "batch": batch, "inputs": dict(contents)})


def identity_of(stage: str, job: BaseModel, contents: Mapping[str, str], extra: Mapping[str, Any], program: str, image_lock: str) -> str:
    """Hash of everything that decides an artifact's content.

    `extra` is for what stands outside the job: the state of local sources, for fetch.
    """
    return digest(
        {
            "stage": stage,
            "job": job.model_dump(mode="json", exclude=APART),
            "inputs": dict(contents),
            "extra": dict(extra),
            "program": program,
            "image": image_lock,
        }
    )
