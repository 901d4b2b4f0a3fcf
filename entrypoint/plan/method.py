"""What a method asks of a training beside its loss: sequences a row, a frozen copy, and what the plan says of it."""

from dataclasses import dataclass
from typing import Literal

from entrypoint.plan.adapter import PRINCIPAL
from entrypoint.plan.counted_shape import shape_of
from entrypoint.plan.load import OWN_WEIGHTS
from entrypoint.plan.tables import DEFAULTS
from schemas.answers_job import Answered
from schemas.errors import UsageError
from schemas.facts import Facts
from schemas.method import Cpo, Distil, Dpo, Ipo, Kto, Method, Orpo, Reward, Simpo, has_reference, teacher_of
from schemas.plan import Decision
from schemas.spec import Spec


@dataclass(frozen=True)
class Needs:
    """Of a method with an adapter; terms of memory.training_bytes."""

    sequences: int
    """That a row is computed as."""

    copy: bool
    """Whether a frozen copy of the base lies beside weights that are all trained."""

    logits: Literal["chunks", "whole", "compared", "answered", "none"]
    """How many of a batch's exist at once."""

    rows: int
    """That have to be computed at once."""


def needs_of(method: Method, adapter: str) -> Needs:
    """What is held and computed beside a plain training."""
    estimates = isinstance(method, Kto) and method.loss == "kto"  # of two answers to two prompts, crosswise
    return Needs(
        sequences=2 if method.rows == "pair" else 1,
        copy=has_reference(method) and adapter in OWN_WEIGHTS,
        logits=_logits(method),
        rows=2 if estimates else 1,
    )


def _logits(method: Method) -> Literal["chunks", "whole", "compared", "answered", "none"]:
    if isinstance(method, Reward):
        return "none"
    if isinstance(method, Distil):
        return "compared" if method.teacher else "answered"
    return "whole" if isinstance(method, Orpo | Simpo | Cpo) else "chunks"


def teacher_weights(spec: Spec, facts: Facts) -> int:
    """Of the second model; 0 where there is none or its config is not at hand."""
    known = facts.models.get(teacher_of(spec.method) or "")
    shape = shape_of(known)
    return shape.parameters if shape else 0


def show_teacher(spec: Spec, facts: Facts) -> list[Decision]:
    """Where it is and whether memory counts it; raises UsageError where its config says that it cannot teach this model."""
    source = teacher_of(spec.method)
    if source is None:
        return []
    mine, its = (shape_of(facts.models.get(name)) for name in (spec.model.source, source))
    if mine and its and its.vocabulary < mine.vocabulary:
        raise UsageError(
            f"method.teacher: {source} has a vocabulary of {its.vocabulary:,} tokens, the model has {mine.vocabulary:,}",
            "choose a teacher of the same family: each of the model's tokens needs a guess of the teacher's",
        )
    why = "its weights are in the memory above" if its else "its config is not at hand before fetch, so memory does not count it yet"
    return [Decision(field="teacher", value=source, why=f"fetched and sealed as the model is; {why}")]


def method_job(method: Method) -> Method | Answered:
    """The method as the leaf is told: names that stand for settings of another are gone, and so is where a teacher was asked."""
    if isinstance(method, Distil):
        return method.model_copy(update={"beta": _beta(method)}) if method.teacher else Answered(kind="answered", loss_on=method.loss_on)
    if isinstance(method, Ipo):
        return Dpo(kind="dpo", loss=("ipo",), beta=method.beta)
    return method


def check_method(spec: Spec, adapter: str, strategy: str, offload: str) -> None:
    """Raise UsageError where a frozen copy would not be shared out as the weights are."""
    copy = needs_of(spec.method, adapter).copy
    if not copy and teacher_of(spec.method) is None:
        return
    what = f"the frozen copy that {spec.method.kind} with {adapter} weights compares with" if copy else "the teacher"
    lora = ", or adapter.kind: lora, which needs no copy" if copy else ""
    if strategy == "fsdp":
        raise UsageError(f"hardware.strategy: fsdp does not shard {what}", f"use strategy: zero3{lora}")
    if offload != "none":
        raise UsageError(f"hardware.offload: {offload} does not move {what}", f"take offload out{lora}")


def check_settings(spec: Spec) -> None:
    """Raise UsageError where a setting of the training is not the method's: before memory is counted, since no machine helps."""
    adapter = spec.adapter.kind
    kind = spec.method.kind
    if spec.train.label_smoothing and (spec.method.rows != "text" or kind == "distil"):
        own = "write method.label_smoothing instead" if hasattr(spec.method, "label_smoothing") else "take it out"
        raise UsageError(f"train.label_smoothing smooths the loss of the next token, which {kind} does not take", own)
    if spec.train.group_by_length and spec.method.rows == "pair":
        raise UsageError(f"train.group_by_length: rows of {kind} are pairs, whose two answers differ in length", "take it out")
    if has_reference(spec.method) and adapter in PRINCIPAL:
        raise UsageError(
            f"adapter.kind: {adapter} takes a part out of the base, which without its adapter is no longer the model that {kind} compares with",
            "use adapter.kind: lora, or rslora",
        )
    if spec.train.neftune and spec.method.rows != "text":
        raise UsageError(f"train.neftune adds noise to all that {kind} compares, its reference too", "take it out")
    if kind == "reward" and adapter == "freeze":
        raise UsageError("adapter.kind: freeze trains weights that the model has, and reward's head is new", "use adapter.kind: lora or full")


def show_method(method: Method, adapter: str) -> list[Decision]:
    """Every setting of the method, and where its reference comes from."""
    found = [Decision(field="method", value=f"{method.kind}{_settings(method)}", why="set in the spec; what is left out has the paper's or TRL's value")]
    if has_reference(method):
        copy = needs_of(method, adapter).copy
        value = "a frozen copy of the base" if copy else "the base under the adapter"
        why = "every weight moves, so the start is kept beside them" if copy else "with the adapter switched off it is the model as it was: no second copy"
        found.append(Decision(field="reference model", value=value, why=why))
    return found


def _beta(method: Distil) -> float:
    """GKD's default of TRL, or the one divergence that a teacher's likeliest tokens are enough for."""
    return 0.0 if method.endpoint else 0.5 if method.beta is None else method.beta


def _settings(method: Method) -> str:
    """Every one that has a value, in words."""
    found = {name: getattr(method, name) for name in type(method).model_fields if name != "kind"}
    if isinstance(method, Distil):
        found["beta"] = _beta(method)
    return "".join(f", {name.replace('_', ' ')} {_shown(value)}" for name, value in found.items() if value is not None)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return " + ".join(_shown(entry) for entry in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def learning_rate(spec: Spec, adapter: str, decisions: list[Decision]) -> float:
    """The peak learning rate, with a warning where the spec's lies outside what is known to work."""
    rows = DEFAULTS["learning_rate"][spec.method.kind]
    row = rows.get(adapter) or rows["full" if adapter in OWN_WEIGHTS else "adapter"]
    low, high = row["band"]
    wanted = spec.train.learning_rate
    kind = f"{spec.method.kind} with {adapter}"
    if wanted is None:
        decisions.append(Decision(field="train.learning_rate", value=f"{row['value']:g}", why=f"default for {kind}", source=row["source"]))
        return float(row["value"])
    if not low <= wanted <= high:
        tells = "the model may forget what it knew, or the loss rise" if wanted > high else "it may learn next to nothing"
        why = f"usual for {kind} is {low:g} to {high:g}: {tells}; leave it out for {row['value']:g}"
        decisions.append(Decision(field="warning: train.learning_rate", value=f"{wanted:g}", why=why, source=row["source"]))
    return wanted
