"""What finished trainings measured on this store's machine: one line each, read by the next plan."""

import hashlib
import json
from typing import Annotated, Any

from pydantic import Field, ValidationError

from schemas.base import Recompute, Record

HISTORY = ".history.jsonl"
"""Its file in the store."""

KEPT = 500
"""Measurements that are kept, the newest: more would say nothing new, and a plan reads them all."""

LINE_BYTES = 20_000
"""No measurement takes more."""

Amount = Annotated[float, Field(gt=0, lt=1e18, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=200)]


class Setting(Record):
    """What decides how long a step takes and how much memory it needs, beside the program's versions."""

    config: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """sha256 of the model's config.json as JSON with sorted keys."""

    device: Text
    """The accelerator's name, or `cpu_name`."""

    method: Text
    adapter: Text
    adapter_rank: int | None = None
    strategy: Text
    offload: Text = "none"
    ranks: Annotated[int, Field(ge=1)]
    nodes: Annotated[int, Field(ge=1)] = 1
    precision: Text
    optimizer: Text
    gradient_checkpointing: Recompute
    kernels: Text = "torch"
    micro_batch: Annotated[int, Field(ge=1)]
    accumulation: Annotated[int, Field(ge=1)]
    length: Annotated[int, Field(ge=1)]
    """Tokens of a pack, or of the longest row."""


class Measured(Record):
    """One training, from its first step in one process to its last."""

    at: float
    """Seconds since 1970."""

    setting: Setting
    steps: Annotated[int, Field(ge=1)]
    """That were measured; the first of a process warms up and is none of them."""

    step_seconds: Amount
    """Median over the steps."""

    modelled_seconds: Amount | None = None
    """What the time model alone had said of a step; None: nothing."""

    tokens_per_second: Amount
    """Over all processes, padding apart."""

    peak_bytes: Amount
    """Of the process that held most: what torch has allocated on a GPU, all memory of the process and its children on a CPU."""

    program: Text
    versions: dict[str, str] = {}


def config_digest(config: dict[str, Any]) -> str:
    """sha256 in hex of a config.json, key order apart."""
    return hashlib.sha256(json.dumps(config, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def cpu_name(threads: int) -> str:
    """What stands for a device's name where a CPU computes."""
    return f"cpu, {threads} thread(s)"


def read_history(content: bytes) -> tuple[Measured, ...]:
    """The measurements of a file, oldest first. Lines that were cut or that another version wrote are left out."""
    found = []
    for line in content.split(b"\n"):
        if not line.strip() or len(line) > LINE_BYTES:
            continue
        try:
            found.append(Measured.model_validate_json(line))
        except ValidationError:
            continue
    return tuple(found[-KEPT:])
