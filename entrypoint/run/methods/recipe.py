"""What a method's module says of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from entrypoint.run.load_model import load_for_training
from schemas.job import Task, TrainJob

Batch = dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """One method over TRL."""

    trainer: type
    """TRL's, or a class of ours over it where it lacks what the others have."""

    config: type
    """TRL's arguments."""

    collator: Callable[[list[Batch]], Batch]
    """Prepared rows -> a batch on the CPU."""

    settings: dict[str, Any] = field(default_factory=dict)
    """Of `config`, beside those of every method."""

    load: Callable[[Path, TrainJob], Any] = load_for_training
    """Model folder and job -> the model that is trained."""

    peft: dict[str, Any] = field(default_factory=dict)
    """Of peft's configuration, beside what the adapter says."""

    companions: Callable[[Task], dict[str, Any]] = lambda task: {}
    """Further arguments of the trainer, such as a frozen reference; called when the arguments exist."""


def switch_off_dropout(job: TrainJob) -> bool:
    """Whether the model's own dropout is switched off, as TRL does; its switch would take the adapter's too, which a spec may ask for."""
    return not job.adapter.dropout
