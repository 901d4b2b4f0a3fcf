"""Whose kernels compute what lies between the matrix products."""

from typing import Literal

from entrypoint.plan.tables import KERNELS
from schemas.errors import MachineError
from schemas.facts import Facts
from schemas.spec import Spec

Kernels = Literal["torch", "liger"]

SINCE = 8.0
"""Compute capability from which Triton computes in bf16 (Ampere)."""


def kernel_kinds(spec: Spec, facts: Facts) -> tuple[Kernels, ...]:
    """Those that a plan chooses from, the plain one first. Raises MachineError where the spec wants what cannot be had here."""
    wanted, table = spec.train.kernels, KERNELS["liger"]
    if wanted == "torch":
        return ("torch",)
    kind = model_type(spec, facts)
    if wanted == "liger":
        _check(facts)
        if kind is not None and kind not in table["types"]:
            raise MachineError(
                f"train.kernels: liger {table['version']} has none for model type {kind}; it has them for {', '.join(table['types'])}",
                "write kernels: torch, or leave it out",
            )
        return ("liger",)
    if spec.train.deterministic or kind not in table["measured"] or not _able(facts):
        return ("torch",)
    return ("torch", "liger")


def model_type(spec: Spec, facts: Facts) -> str | None:
    """As its config says; None before it is known."""
    known = facts.models.get(spec.model.source)
    found = known.config.get("model_type") if known else None
    return found if isinstance(found, str) else None


def _check(facts: Facts) -> None:
    if not facts.accelerators:
        raise MachineError("train.kernels: liger: its kernels are Triton's, which are for GPUs", "write kernels: torch, or leave it out")
    if not _able(facts):
        card = facts.smallest
        raise MachineError(
            f"train.kernels: liger: {card.name} has compute capability {card.compute_capability}, Triton's bf16 begins at {SINCE}",
            "write kernels: torch, or leave it out",
        )


def _able(facts: Facts) -> bool:
    return bool(facts.accelerators) and all(one.compute_capability and float(one.compute_capability) >= SINCE for one in facts.accelerators)
