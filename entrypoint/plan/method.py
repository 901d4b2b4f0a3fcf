"""What a method asks of a training beside its loss: sequences a row, a frozen copy, and what the plan says of it."""

from dataclasses import dataclass

from entrypoint.plan.tables import DEFAULTS
from schemas.errors import UsageError
from schemas.method import Dpo, Ipo, Method, Pretrain, Sft, has_reference
from schemas.plan import Decision
from schemas.spec import Spec


@dataclass(frozen=True)
class Needs:
    """Of a method with an adapter; terms of memory.training_bytes."""

    sequences: int
    """That a row is computed as."""

    copy: bool
    """Whether a frozen copy of the base lies beside weights that are all trained."""


def needs_of(method: Method, adapter: str) -> Needs:
    """What is held and computed beside a plain training."""
    return Needs(sequences=2 if method.rows == "pair" else 1, copy=has_reference(method) and adapter == "full")


def method_job(method: Method) -> Method:
    """The method as the leaf is told: names that stand for settings of another are gone."""
    if isinstance(method, Ipo):
        return Dpo(kind="dpo", loss=("ipo",), beta=method.beta)
    return method


def check_method(spec: Spec, adapter: str, strategy: str, offload: str) -> None:
    """Raise UsageError where a frozen copy would not be shared out as the weights are."""
    if not needs_of(spec.method, adapter).copy:
        return
    if strategy == "fsdp":
        raise UsageError(
            f"hardware.strategy: fsdp does not shard the frozen copy that {spec.method.kind} with full weights compares with",
            "use strategy: zero3, or adapter.kind: lora, which needs no copy",
        )
    if offload != "none":
        raise UsageError(
            f"hardware.offload: {offload} does not move the frozen copy that {spec.method.kind} with full weights compares with",
            "use adapter.kind: lora, which needs no copy, or take offload out",
        )


def show_method(method: Method, adapter: str) -> list[Decision]:
    """Every setting of the method, and where its reference comes from."""
    found = [Decision(field="method", value=f"{method.kind}{_settings(method)}", why="set in the spec; what is left out has the paper's or TRL's value")]
    if has_reference(method):
        copy = needs_of(method, adapter).copy
        value = "a frozen copy of the base" if copy else "the base under the adapter"
        why = "every weight moves, so the start is kept beside them" if copy else "with the adapter switched off it is the model as it was: no second copy"
        found.append(Decision(field="reference model", value=value, why=why))
    return found


def _settings(method: Method) -> str:
    """In words, for people."""
    if isinstance(method, Sft):
        return f", loss on {method.loss_on}"
    if isinstance(method, Pretrain):
        return ", loss on every token"
    if isinstance(method, Ipo):
        return f", beta {method.beta:g}"
    weights = method.weights or (1.0,) * len(method.loss)
    losses = " + ".join(name if weight == 1 else f"{weight:g} x {name}" for name, weight in zip(method.loss, weights, strict=True))
    said = f", loss {losses}, beta {method.beta:g}"
    if method.label_smoothing:
        said += f", label_smoothing {method.label_smoothing:g}"
    if method.divergence != "reverse_kl":
        said += f", {method.divergence}" + (f" {method.divergence_alpha or 0.5:g}" if method.divergence == "alpha_divergence" else "")
    return said


def learning_rate(spec: Spec, adapter: str, decisions: list[Decision]) -> float:
    """The peak learning rate, with a warning where the spec's lies outside what is known to work."""
    row = DEFAULTS["learning_rate"][spec.method.kind]["full" if adapter == "full" else "adapter"]
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
