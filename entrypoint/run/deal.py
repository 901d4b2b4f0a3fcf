"""What a training deals out: prepared rows, packs of them, or rows that are prepared meanwhile; and what validation does."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from entrypoint.run.gate_pass import key_of
from entrypoint.run.packed_rows import DealtPacks, collate
from entrypoint.run.packing import Packs
from entrypoint.run.ranks import is_first, rank, ranks
from entrypoint.run.row_order import RowOrder, StreamOrder
from entrypoint.run.row_stream import STREAM, RowStream
from entrypoint.run.step_work import StepWork
from entrypoint.run.stream_watch import StreamWatch
from entrypoint.run.streamed_rows import StreamedRows
from entrypoint.run.token_rows import DealtRows, row_lengths, token_rows
from schemas.job import Task, TrainJob


@dataclass(frozen=True)
class Deal:
    """Everything about rows that a trainer is told."""

    rows: Any
    """For TRL's constructor: all training rows, or the first part of them."""

    validation: Any
    dealt: DealtRows | DealtPacks | StreamedRows
    validated: DealtRows | DealtPacks | None
    order: RowOrder
    collator: Any
    rows_of: Callable[[int], list[int]]
    """A number of `order` -> numbers of prepared rows, for people."""

    work: StepWork
    validation_work: float = 0.0
    stream: RowStream | None = None
    """Of the first rank, where rows are prepared meanwhile."""

    def hand_to(self, trainer: Any) -> None:
        """Set what SealedTrainer wants of rows."""
        trainer.dealt, trainer.validated, trainer.order = self.dealt, self.validated, self.order
        trainer.progress.work, trainer.progress.validation_work = self.work, self.validation_work
        if isinstance(self.dealt, StreamedRows):
            watch = StreamWatch(trainer, self.stream)
            self.dealt.meanwhile = watch.meanwhile
            trainer.add_callback(watch)


def deal(task: Task, recipe: Any) -> Deal:
    """The deal of a task; where rows are streamed, the first rank starts the process that prepares them."""
    job, shards = task.job, Path(task.inputs["prepared"])
    assert isinstance(job, TrainJob)
    validation, rows = token_rows(shards, "validation", job.method.rows), token_rows(shards, "train", job.method.rows)
    assert rows is not None  # the gate seals no artifact without training rows
    collator = collate if job.pack_length else recipe.collator
    answers = Path(task.inputs["answers"]) if "answers" in task.inputs else None
    validated = _dealt(job, shards, "validation", validation, answers) if validation else None
    if job.stream:
        order = StreamOrder(job.max_steps or 1, job.micro_batch, job.accumulation, rank(), ranks())
        stream = RowStream(task, job.stream) if is_first() else None
        if stream:
            stream.begin()
        place, key = Path(task.output) / STREAM, key_of(job.stream)
        streamed = StreamedRows(place, key, job.method.rows, job.pack_length, job.seed, order.rows, order.rows_per_step)
        return Deal(rows, validation, streamed, validated, order, collator, streamed.prepared_rows, StepWork(order, None), stream=stream)
    dealt = _dealt(job, shards, "train", rows, answers)
    lengths = row_lengths(shards, "train") if job.optimisation.group_by_length else None
    in_memory = RowOrder(len(dealt), job.micro_batch, job.accumulation, rank(), ranks(), job.seed, lengths)
    work = StepWork(in_memory, dealt_lengths(dealt, shards, "train"))
    validation_work = float(dealt_lengths(validated, shards, "validation").sum()) / ranks() if validated else 0.0
    return Deal(rows, validation, dealt, validated, in_memory, collator, _rows_of(dealt), work, validation_work)


def dealt_lengths(dealt: Any, shards: Path, split: str) -> np.ndarray:
    """Tokens of each row, pair or pack that is dealt out, int64 of shape (len(dealt),)."""
    lengths = row_lengths(shards, split)
    if isinstance(dealt, DealtPacks):
        return np.asarray(np.add.reduceat(lengths[dealt.packs.members], dealt.packs.starts[:-1]))
    return np.asarray(lengths.reshape(len(dealt), -1).sum(axis=1))  # the two sides of a pair are two rows of the shards


def _dealt(job: TrainJob, shards: Path, split: str, rows: Any, answers: Path | None) -> Any:
    """As Deal has it; `answers` is the folder of what a teacher said of the rows."""
    if answers:
        from entrypoint.run.methods.answered import DealtAnswers

        return DealtAnswers(DealtRows(rows), answers, split)
    return DealtPacks(rows, Packs(row_lengths(shards, split), job.pack_length)) if job.pack_length else DealtRows(rows)


def _rows_of(dealt: DealtRows | DealtPacks) -> Callable[[int], list[int]]:
    packs = dealt.packs if isinstance(dealt, DealtPacks) else None
    return lambda number: [number] if packs is None else packs.rows(number).tolist()
