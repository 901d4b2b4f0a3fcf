"""What was measured before, for a plan: the same setting, or how far a model of time is off in settings like it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from entrypoint.plan.engine import environment
from entrypoint.plan.load import OWN_WEIGHTS, Load
from schemas.facts import Facts
from schemas.history import Measured, Setting, config_digest, cpu_name
from schemas.plan import Decision

NEWEST = 5
"""Measurements of one setting that count: older ones may be of another driver, or of a machine that was busy."""

TRUSTED = (0.2, 5.0)
"""A factor beyond these says that something else was measured."""


@dataclass(frozen=True)
class Known:
    """Of one setting."""

    step_seconds: float
    tokens_per_second: float
    peak_bytes: float
    runs: int


def setting(load: Load, config: dict[str, Any], facts: Facts, method: str, accumulation: int) -> Setting:
    """As a finished run names itself: entrypoint.run.measurement."""
    device = facts.accelerators[0].name if facts.accelerators else cpu_name(int(environment(facts, load)["OMP_NUM_THREADS"]))
    return Setting(
        config=config_digest(config), device=device, method=method, adapter=load.adapter, adapter_rank=None if load.adapter in OWN_WEIGHTS else load.rank, strategy=load.strategy,
        offload=load.offload, ranks=load.ranks, nodes=load.nodes, precision=load.precision, optimizer=load.optimizer,
        gradient_checkpointing=load.gradient_checkpointing, kernels=load.kernels, micro_batch=load.micro_batch, accumulation=accumulation, length=load.length,
    )  # fmt: skip


def known_speed(history: Sequence[Measured], wanted: Setting) -> Known | None:
    """The median of what was measured of exactly this setting, the newest first; None: never."""
    same = [one for one in history if one.setting == wanted][-NEWEST:]
    if not same:
        return None
    return Known(
        _median([one.step_seconds for one in same]), _median([one.tokens_per_second for one in same]), _median([one.peak_bytes for one in same]), len(same)
    )


@dataclass(frozen=True)
class Expected:
    """Seconds of a step, and what they stand on."""

    seconds: float
    modelled: float
    """By the time model alone."""

    words: str


def expect(history: Sequence[Measured], wanted: Setting, modelled: float, how: str) -> Expected:
    """What was measured of this setting, or the time model's seconds with the correction of runs like it, or those alone: `how` says of which rates."""
    if known := known_speed(history, wanted):
        return Expected(known.step_seconds, modelled, "as measured in this setting before")
    if found := correction(history, wanted):
        factor, runs = found
        return Expected(factor * modelled, modelled, f"an estimate, times {factor:.2f} as {_runs(runs)} here took")
    return Expected(modelled, modelled, f"an estimate with rates {how}")


def correction(history: Sequence[Measured], wanted: Setting) -> tuple[float, int] | None:
    """By what the time model's seconds of a step have to be multiplied, and from how many measurements: the median over settings on the same
    device, the nearest group that has any."""
    here = [one for one in history if one.setting.device == wanted.device and one.modelled_seconds]
    model = [one for one in here if one.setting.config == wanted.config]
    for group in (
        [one for one in model if (one.setting.adapter, one.setting.strategy, one.setting.ranks) == (wanted.adapter, wanted.strategy, wanted.ranks)],
        [one for one in model if one.setting.strategy == wanted.strategy],
        [one for one in here if one.setting.strategy == wanted.strategy and one.setting.precision == wanted.precision],
    ):
        factors = [one.step_seconds / one.modelled_seconds for one in group[-4 * NEWEST :] if one.modelled_seconds]
        factors = [factor for factor in factors if TRUSTED[0] <= factor <= TRUSTED[1]]
        if factors:
            return _median(factors), len(factors)
    return None


def show_known(known: Known | None) -> list[Decision]:
    """A line of the plan; nothing where nothing was measured."""
    if known is None:
        return []
    runs = _runs(known.runs)
    seconds = f"{known.step_seconds * 1000:.0f} ms" if known.step_seconds < 0.1 else f"{known.step_seconds:.2f} s"
    return [
        Decision(
            field="measured before",
            value=f"{seconds} a step, {known.tokens_per_second:,.0f} tokens/s, {known.peak_bytes / 2**30:.1f} GiB",
            why=f"the median of {runs} of exactly this setting on this store",
            source=".history.jsonl of the store",
        )
    ]


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _runs(count: int) -> str:
    return "one run" if count == 1 else f"{count} runs"
