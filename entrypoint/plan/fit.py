"""Whether a load fits where it computes and in the host's memory, and what would fit where nothing does."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

from entrypoint.plan.adapter import goes_with
from entrypoint.plan.host_memory import host_bytes
from entrypoint.plan.load import GIB, OWN_WEIGHTS, Load
from entrypoint.plan.memory import peak_moment, training_bytes
from entrypoint.plan.model_shape import ModelShape
from entrypoint.plan.needed import needed
from entrypoint.plan.offload import AUTOMATIC, room_on_disk
from entrypoint.plan.optimisation import WHY_WHOLE
from schemas.errors import MachineError
from schemas.expected import Predicted
from schemas.facts import Facts
from schemas.plan import Decision

MARGIN = 0.90
"""Share of the memory that a plan may fill; the rest is for what the estimate leaves out."""


@dataclass(frozen=True)
class Fit:
    """A load, its bytes by term, and the memories that it has to fit in, GiB."""

    load: Load
    terms: Mapping[str, float]
    room_gib: float
    """Of a GPU; on a CPU a process's share of the memory."""

    host_terms: Mapping[str, float] = field(default_factory=dict)
    """In the host's memory beside GPUs; empty on a CPU, where it is the same."""

    ram_gib: float = 0.0

    @property
    def gib(self) -> float:
        return sum(self.terms.values()) / GIB

    @property
    def host_gib(self) -> float:
        return sum(self.host_terms.values()) / GIB

    @property
    def fits(self) -> bool:
        return self.gib <= MARGIN * self.room_gib and self.host_fits

    @property
    def host_fits(self) -> bool:
        return self.host_gib <= MARGIN * self.ram_gib

    @property
    def may_pin(self) -> bool:
        """Whether the host's share fits even where page-locked memory is rounded up to powers of two, as torch's allocator does."""
        return bool(self.host_terms) and 2 * self.host_gib <= MARGIN * self.ram_gib


def fit_of(shape: ModelShape | None, load: Load, facts: Facts) -> Fit:
    """A load on this machine; without a shape nothing is counted."""
    room = facts.smallest.memory_gib if load.on_gpu else facts.ram_gib / load.ranks_per_node
    if shape is None:
        return Fit(load, {}, room, {}, facts.ram_gib)
    return Fit(load, training_bytes(shape, load), room, _of_a_machine(host_bytes(shape, load), load) if load.on_gpu else {}, facts.ram_gib)


def _of_a_machine(terms: dict[str, float], load: Load) -> dict[str, float]:
    """What all ranks keep in hosts' memories is shared by nodes that are alike."""
    return {name: size / load.nodes for name, size in terms.items()}


def predicted_of(fit: Fit) -> Predicted:
    """What a run compares itself with: of a GPU what torch allocates, without its context and fragments."""
    return Predicted(memory_bytes=round(sum(size for name, size in fit.terms.items() if name not in ("context", "fragments"))))


def refuse_all(model: str, tried: Sequence[Fit], shape: ModelShape, facts: Facts) -> NoReturn:
    """Raises MachineError: how much is needed at least, how much there is, and what would fit."""
    kept = not any(fit.load.gradient_checkpointing is True for fit in tried)
    if on_device := [fit for fit in tried if replace(fit, host_terms={}).fits]:
        smallest = min(on_device, key=lambda fit: fit.host_gib)
        terms = _terms(smallest.host_terms)
        raise MachineError(
            f"{model} does not fit: {smallest.load.words} needs {_up(smallest.host_gib / MARGIN):.1f} GiB of the host's memory ({terms}, and a tenth free), this "
            f"machine has {facts.ram_gib:.1f} GiB",
            _what_would_fit(smallest, shape, facts, kept=kept, shorter=False),
        )
    smallest = min(tried, key=lambda fit: fit.gib)
    load = smallest.load
    where = "each GPU" if facts.device == "cuda" else ("this machine" if load.ranks_per_node == 1 else f"each of {load.ranks_per_node} processes")
    raise MachineError(
        f"{model} does not fit: {load.words} at {load.length:,} tokens needs {_up(smallest.gib / MARGIN):.1f} GiB, {where} has {smallest.room_gib:.1f} GiB",
        _what_would_fit(smallest, shape, facts, kept=kept, shorter=True),
    )


def _up(gib: float) -> float:
    """To a tenth, never less: what is needed must not look like what is there."""
    return math.ceil(10 * gib) / 10


def show_memory(fit: Fit, shape: ModelShape) -> list[Decision]:
    """Sums with their terms, of the host too where GPUs compute."""
    source = "formulas in docs/plan.md"
    at = f"at the peak, {peak_moment(shape, fit.load)}; {source}"
    found = [Decision(field="memory", value=f"{fit.gib:.1f} of {fit.room_gib:.1f} GiB", why=_terms(fit.terms), source=at, parts=_parts(fit.terms))]
    if fit.host_terms:
        value = f"{fit.host_gib:.1f} of {fit.ram_gib:.1f} GiB"
        found.append(Decision(field="host memory", value=value, why=_terms(fit.host_terms), source=source, parts=_parts(fit.host_terms)))
    return found


def _parts(terms: Mapping[str, float]) -> dict[str, float]:
    """GiB, largest first, without what does not show."""
    return {name: round(size / GIB, 2) for name, size in sorted(terms.items(), key=lambda term: -term[1]) if size / GIB >= 0.005}


def _terms(terms: Mapping[str, float]) -> str:
    """Largest first, without what does not show."""
    shown = [(name, size) for name, size in sorted(terms.items(), key=lambda term: -term[1]) if size / GIB >= 0.005]
    return ", ".join(f"{name} {size / GIB:.2f}" for name, size in shown) or "less than 0.01"


RECOMPUTE = "write train.gradient_checkpointing: true"


def _what_would_fit(fit: Fit, shape: ModelShape, facts: Facts, *, kept: bool, shorter: bool) -> str:
    """Neighbours that need less, the nearest first; they recompute, so where the spec says `kept`, each says that too."""
    load = fit.load
    larger = "plan for a larger machine with `caisson plan --facts`"
    if kept and fit_of(shape, replace(load, gradient_checkpointing=True), facts).fits:
        return f"{RECOMPUTE}; or {larger}"
    found = []
    if shorter:
        name = facts.smallest.name if facts.accelerators else ""
        found = needed(shape, load, name, fit.room_gib, MARGIN, facts.ram_gib)
    elif load.adapter in OWN_WEIGHTS and fit_of(shape, replace(load, adapter="lora", copy=False), facts).fits:
        found = ["use adapter.kind: lora"]
    if load.on_gpu and load.offload == "none" and load.adapter != "qlora" and load.optimizer not in WHY_WHOLE:
        found += _shards(fit, shape, facts)
    return "; or ".join([*(f"{RECOMPUTE}, and {way}" if kept and shorter else way for way in found), larger])


def _shards(fit: Fit, shape: ModelShape, facts: Facts) -> list[str]:
    """Shards over the GPUs that there are before what waits for the host, and that before a disk."""
    every = replace(fit.load, ranks=fit.load.nodes * len(facts.accelerators), gradient_checkpointing=True)
    moved = (("cpu", ", offload: cpu"), *((("nvme", ", offload: nvme"),) if every.nodes == 1 else ()))
    if every.copy or every.teacher:  # a second model is not moved
        moved = ()
    for offload, words in (*((("none", ""),) if every.ranks > 1 else ()), *moved):
        goes = [name for name in AUTOMATIC if goes_with(every.adapter, name)]
        fits = [name for name in goes if fit_of(shape, replace(every, strategy=name, offload=offload), facts).fits]
        if fits and room_on_disk(shape, replace(every, strategy=fits[0], offload=offload), facts):
            return [f"use hardware: {{strategy: {fits[0]}{words}}}" + {"none": "", "cpu": ", which is slower", "nvme": ", which is much slower"}[offload]]
    return []
