"""Out of memory with several rows at once: fewer from here on, in the same run and in those that go on from it."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from entrypoint.run.seal import write_durably
from schemas.base import Record
from schemas.errors import CaissonError, Interrupted, MachineError
from schemas.job import TrainJob

NOTE = "rows-at-once.json"
"""Beside the checkpoints of a run with several processes, which cannot repeat a step: others wait in the middle of it."""

CPU_WORDS = "DefaultCPUAllocator: "
"""How torch begins what it says where the system gives it no more memory; it has no class of its own for that."""

LESS = "set train.gradient_checkpointing: true, a lower data.max_length, adapter.kind: qlora or a strategy that shards; or train on a larger machine"


class RowsAtOnce(Record):
    """What a run has learned of memory."""

    planned: int
    """Rows of a micro-batch for which this holds; another plan begins anew."""

    ranks: int
    strategy: str
    rows: int
    """At once from now on."""


COMPARING = {"kto": ("kto",), "dpo": ("bco_pair", "aot", "aot_unpaired")}
"""Losses by method in which the rows of a batch enter each other's: estimates over a batch, and sorted rewards."""


def compares_rows(job: TrainJob) -> bool:
    """Whether a part of a batch has another loss than it had as a part of the whole."""
    losses = getattr(job.method, "loss", ())
    return not set(COMPARING.get(job.method.kind, ())).isdisjoint([losses] if isinstance(losses, str) else losses)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch got no memory, from a GPU or from the system."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or (isinstance(error, RuntimeError) and CPU_WORDS in str(error))


def fewer(rows: int, micro_batch: int) -> int:
    """Rows at once after a failure with so many, of which there are at least two: half; of several micro-batches together whole ones."""
    return max(rows // 2 // micro_batch, 1) * micro_batch if rows > micro_batch else -(-rows // 2)


def lower(job: TrainJob, checkpoints: Path) -> TrainJob:
    """The job with as many rows at once as an earlier attempt of this plan has found to fit; the rows of a step stay the same."""
    found = _read(checkpoints / NOTE)
    if found is None or (found.planned, found.ranks, found.strategy) != (job.micro_batch, job.ranks, job.strategy):
        return job
    rows = found.rows
    changes: dict[str, Any] = {
        "micro_batch": rows,
        "accumulation": job.micro_batch * job.accumulation // rows,
        "validation_rows": min(rows, job.validation_rows),
    }
    if job.strategy.startswith("zero"):
        told = {"train_micro_batch_size_per_gpu": rows, "gradient_accumulation_steps": changes["accumulation"]}
        changes["engine"] = {**job.engine, **{name: value for name, value in told.items() if name in job.engine}}
    return job.model_copy(update=changes)


def end_lowered(job: TrainJob, checkpoints: Path, step: int, planned: int) -> CaissonError:
    """Of a rank that ran out of memory: note fewer rows for the next attempt, and say so. `planned` are the rows of the plan, `job` is as it runs.

    Fewer that make the same step: a divisor of a rank's rows in it.
    """
    share = job.micro_batch * job.accumulation
    rows = next((fewer for fewer in range(job.micro_batch // 2, 0, -1) if share % fewer == 0), 0)
    if not rows:
        return MachineError(f"the memory ran out at step {step} with one row at once on each process", LESS)
    checkpoints.mkdir(parents=True, exist_ok=True)
    write_durably(checkpoints / NOTE, RowsAtOnce(planned=planned, ranks=job.ranks, strategy=job.strategy, rows=rows).model_dump_json() + "\n")
    return Interrupted(
        f"the memory ran out at step {step} with {job.micro_batch} rows at once on each process; {rows} are noted for this run",
        f"run the same command again: it goes on from the last checkpoint with {rows} x {share // rows} rows, the same in each step",
    )


def _read(path: Path) -> RowsAtOnce | None:
    try:
        return RowsAtOnce.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
