"""The fastest of all ways to train that fit, and what each choice was weighed against."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from entrypoint.plan.batch import Rows
from entrypoint.plan.fit import Fit, fit_of
from entrypoint.plan.load import Load
from entrypoint.plan.model_shape import ModelShape
from entrypoint.plan.time_model import Speed, step_speed
from schemas.facts import Facts
from schemas.rates import Rates

MAX_MICRO_BATCH = 64
"""Rows a rank computes at once; beyond this a step gets no faster on any card that was measured."""


EXCESS = 0.03
"""Part by which a step may have more rows than was asked for, so that its parts are of equal size."""


SIMPLER = 0.25
"""Part of a token's time that a simpler strategy may lose: what DeepSpeed's own hooks and copies cost is not in the estimate."""


@dataclass(frozen=True)
class Option:
    """One way to train, with so many rows at once."""

    fit: Fit
    accumulation: int
    order: int
    """Of its candidate, the preferred first: decides where no rates are known."""

    speed: Speed | None = None

    @property
    def load(self) -> Load:
        """What it holds."""
        return self.fit.load

    @property
    def key(self) -> tuple[float, int, int]:
        """Smaller is better: time of a token, then preference, then fewer parts of a step."""
        return (1 / self.speed.rate if self.speed else 0.0, self.order, self.accumulation)

    @property
    def words(self) -> str:
        """Speed, or memory where it does not fit."""
        if not self.fit.fits:
            where = self.fit.host_gib if self.fit.host_terms and not self.fit.host_fits else self.fit.gib
            return f"does not fit, {where:.1f} GiB"
        return f"{rounded(self.speed.rate)} tok/s" if self.speed else f"{self.fit.gib:.1f} GiB"


def rounded(number: float) -> str:
    """Three digits: an estimate has no more."""
    if number <= 0:
        return "0"
    digits = 2 - math.floor(math.log10(number))
    return f"{round(number, digits):,.{max(0, digits)}f}"


def options(loads: Iterable[Load], shape: ModelShape, facts: Facts, rates: Rates | None, rows: Rows, step_rows: Callable[[int], int]) -> list[Option]:
    """Every candidate with every number of rows at once that parts a step evenly. `step_rows`: rows of a step, by the number of processes."""
    found = []
    for order, load in enumerate(loads):
        count = step_rows(load.ranks)
        for micro, parts in sizes(-(-count // load.ranks), load.micro_batch):
            held = replace(load, micro_batch=micro, accumulates=parts > 1, padded=is_padded(rows, micro * load.sequences))
            fit = fit_of(shape, held, facts)
            speed = step_speed(shape, held, rates, parts, count * rows.mean * load.sequences, row_width(rows, micro)) if rates else None
            found.append(Option(fit, parts, order, speed))
    return found


def sizes(share: int, least: int) -> list[tuple[int, int]]:
    """Rows at once and parts of a step, for a process's share of its rows; no fewer rows than the method needs at once."""
    found: dict[int, int] = {}
    for most in range(min(share, MAX_MICRO_BATCH), 0, -1):
        parts = -(-share // most)
        micro = -(-share // parts)
        if micro >= least and (micro * parts <= (1 + EXCESS) * share or micro == least):
            found.setdefault(micro, parts)
    return list(found.items()) or [(least, max(1, -(-share // least)))]


def is_padded(rows: Rows, at_once: int) -> bool:
    """Whether rows of unequal length lie side by side: packs are one long row, and rows that nobody has counted may be unequal."""
    return not rows.pack and at_once > 1 and (rows.assumed or rows.mean < rows.longest)


def row_width(rows: Rows, micro: int) -> float:
    """Tokens that a row is computed as: alone its own, beside others those of the longest of them, which is between the mean and the longest of all."""
    if rows.pack:
        return rows.mean
    return rows.longest - (rows.longest - rows.mean) / micro


def choose(found: list[Option]) -> Option | None:
    """The fastest that fits, of the first adapter of which any does, and of the simplest strategy that is nearly as fast as the fastest; where no
    rates are known the preferred, with the most rows at once."""
    fitting = [option for option in found if option.fit.fits]
    if not fitting:
        return None
    adapter = min(fitting, key=lambda option: option.order).load.adapter
    fitting = [option for option in fitting if option.load.adapter == adapter]
    if fitting[0].speed is None:
        return min(fitting, key=lambda option: option.key)
    fastest: dict[str, Option] = {}
    for option in sorted(fitting, key=lambda option: option.key):
        fastest.setdefault(option.load.strategy, option)
    best = min(option.key[0] for option in fastest.values())
    near = [option for option in fastest.values() if option.key[0] <= (1 + SIMPLER) * best]
    return min(near, key=lambda option: option.order)


def against(found: list[Option], chosen: Option, differs: Callable[[Load], Any]) -> Option | None:
    """The best of those that differ in one thing, those that fit before those that do not; None without any."""
    others = [option for option in found if differs(option.load) != differs(chosen.load)]
    if not others:
        return None
    fitting = [option for option in others if option.fit.fits]
    return min(fitting, key=lambda option: option.key) if fitting else min(others, key=lambda option: (option.fit.gib, option.order))
