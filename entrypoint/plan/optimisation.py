"""Optimizer, schedule and validation: what they go with, and what the trainer is told."""

from entrypoint.plan.inputs import Inputs
from schemas.errors import MachineError, UsageError
from schemas.facts import Facts
from schemas.job import OptimisationJob, ValidationJob
from schemas.manifest import PreparedSummary
from schemas.plan import Decision
from schemas.spec import Spec

WHOLE = ("single", "ddp")
"""Strategies under which each process holds whole parameters, which all optimizers but AdamW ask for."""

DECAY = 0.2
"""Share of wsd's steps that decay."""

WHY_WHOLE = {
    "adamw_8bit": "its scales are of blocks of 256 weights, which shares would cut",
    "paged_adamw": "its pages are of whole parameters",
    "paged_adamw_8bit": "its scales are of blocks of 256 weights, which shares would cut",
    "adafactor": "it keeps sums over whole rows and columns",
    "muon": "it makes whole matrices orthogonal",
}


def check_optimizer(spec: Spec, facts: Facts) -> None:
    """Raises UsageError for an optimizer that the engine cannot hold, MachineError for one that this machine cannot."""
    name, strategy = spec.train.optimizer, spec.hardware.strategy
    if spec.plugins.optimizer and (spec.hardware.offload != "none" or strategy not in (None, *WHOLE)):
        engine = strategy or f"offload: {spec.hardware.offload}"
        raise UsageError(f"plugins.optimizer does not go with {engine}: it is written for whole parameters", "use strategy: ddp or single")
    if name in WHY_WHOLE and (spec.hardware.offload != "none" or strategy not in (None, *WHOLE)):
        engine = strategy or f"offload: {spec.hardware.offload}"
        raise UsageError(
            f"train.optimizer: {name} does not go with {engine}: {WHY_WHOLE[name]}",
            f"use strategy: ddp or single with {name}, or optimizer: adamw with {engine}",
        )
    if name.startswith("paged") and facts.device == "cpu":
        plain = name.removeprefix("paged_")
        raise MachineError(f"train.optimizer: {name} moves state between two memories, and a CPU has one", f"use optimizer: {plain}")


def strategies(spec: Spec, automatic: list[str]) -> list[str]:
    """Of the automatic strategies those that the optimizer goes with."""
    return automatic if spec.train.optimizer not in WHY_WHOLE and not spec.plugins.optimizer else [name for name in automatic if name in WHOLE]


def check_validation(spec: Spec, inputs: Inputs) -> None:
    """Raises UsageError where something is to follow from a validation and there are no rows for one."""
    wanted = spec.train.validation
    named = next((name for name in ("patience", "best", "every") if getattr(wanted, name)), None)
    none = not spec.data.validation or (inputs.prepared is not None and not PreparedSummary.model_validate(inputs.prepared.manifest.summary).validation.rows)
    if named and none:
        raise UsageError(f"train.validation.{named}: there are no rows to validate with", "set data.validation, such as 5% or a list of files")


def optimisation_job(spec: Spec, decisions: list[Decision]) -> OptimisationJob:
    """As the trainer reads it; says what is not as everybody expects."""
    train = spec.train
    if train.optimizer == "muon":
        why = "matrices of the layers are stepped by Muon at AdamW's update size, all else by AdamW, with one learning rate"
        decisions.append(Decision(field="train.optimizer", value="muon", why=why, source="Moonlight, arXiv 2502.16982, section 2.2"))
    if train.group_by_length:
        why = "rows are shuffled, sorted by length within 1,024 of them, and dealt out in blocks of 16 of like length"
        decisions.append(Decision(field="train.group_by_length", value="true", why=why))
    return OptimisationJob(
        optimizer=train.optimizer,
        schedule=train.schedule,
        warmup=train.warmup,
        warmup_steps=train.warmup_steps,
        decay=_decay(spec, decisions) if train.schedule == "wsd" else 0.0,
        min_rate=train.min_rate,
        neftune=train.neftune,
        label_smoothing=train.label_smoothing,
        group_by_length=train.group_by_length,
    )


def _decay(spec: Spec, decisions: list[Decision]) -> float:
    if spec.train.decay is not None:
        return spec.train.decay
    decisions.append(Decision(field="train.decay", value=f"{DECAY:.0%}", why="default", source="arXiv 2405.18392: 10% to 20% is as good as cosine"))
    return DECAY


def validation_job(spec: Spec, inputs: Inputs, decisions: list[Decision]) -> ValidationJob:
    """When a run is judged and what follows."""
    check_validation(spec, inputs)
    wanted = spec.train.validation
    if wanted.best:
        why = f"set in the spec: of all validations the one with the best {wanted.metric}; its checkpoint stays beside the newest until the end"
        decisions.append(Decision(field="train.validation.best", value="true", why=why))
    return ValidationJob(every=wanted.every, metric=wanted.metric, patience=wanted.patience, min_delta=wanted.min_delta, best=wanted.best)
