"""Intervals by the bootstrap: seeded, so that the same answers always give the same report. Standard library only.

Percentile intervals over resampled questions (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13); pairs stay together.
"""

import random
import zlib
from collections.abc import Callable, Sequence
from typing import TypeVar

from schemas.evaluation import Estimate

CONFIDENCE = 0.95
MOST, LEAST = 10_000, 1_000
"""Resamples."""

DRAWS = 20_000_000
"""Of all resamples of a metric together, some seconds: a suite of many questions gets by with fewer resamples."""

Row = TypeVar("Row")
Limits = tuple[float, float] | None


def mean(values: Sequence[float], *, seed: int, name: str, share: bool = True) -> Estimate:
    """The mean of values and its interval. `name` keeps the draws of two metrics apart; `share`: values go from 0 to 1. Values must not be empty."""
    return _interval(list(values), _mean, random_of(seed, name), len(set(values)) == 1, (0.0, 1.0) if share else None)


def paired(base: Sequence[float], tuned: Sequence[float], *, seed: int, name: str, share: bool = True) -> Estimate:
    """The mean of tuned less base over the same questions, in the same order."""
    differences = [after - before for before, after in zip(base, tuned, strict=True)]
    return _interval(differences, _mean, random_of(seed, name), len(set(differences)) == 1, (-1.0, 1.0) if share else None)


def ratio(sums: Sequence[tuple[float, float]], *, seed: int, name: str, of: Callable[[float], float] = float) -> Estimate:
    """A sum over a count, as nats over tokens, with both drawn row by row; `of` makes the number of the ratio, as exp does of a perplexity."""
    return _interval(list(sums), lambda drawn: of(_ratio(drawn)), random_of(seed, name), len(set(sums)) == 1, None)


def paired_ratio(
    base: Sequence[tuple[float, float]], tuned: Sequence[tuple[float, float]], *, seed: int, name: str, of: Callable[[float], float] = float
) -> Estimate:
    """The same of tuned less that of base."""
    rows = list(zip(base, tuned, strict=True))

    def difference(drawn: Sequence[tuple[tuple[float, float], tuple[float, float]]]) -> float:
        return of(_ratio([after for _, after in drawn])) - of(_ratio([before for before, _ in drawn]))

    return _interval(rows, difference, random_of(seed, name), len(set(rows)) == 1, None)


def random_of(seed: int, name: str) -> random.Random:
    """A generator of its own for each metric: one metric more in a report moves no interval."""
    return random.Random(seed * 2**32 + zlib.crc32(name.encode()))


def resamples(rows: int) -> int:
    """How many resamples so many rows get."""
    return max(LEAST, min(MOST, DRAWS // max(1, rows)))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _ratio(rows: Sequence[tuple[float, float]]) -> float:
    return sum([row[0] for row in rows]) / sum([row[1] for row in rows])


def _interval(rows: list[Row], statistic: Callable[[Sequence[Row]], float], chance: random.Random, alike: bool, limits: Limits) -> Estimate:
    value = statistic(rows)
    if alike:  # resampling sees no spread, which says nothing of the questions that were not asked
        return _of_equal(value, len(rows), limits)
    found = sorted(statistic(chance.choices(rows, k=len(rows))) for _ in range(resamples(len(rows))))
    aside = (1 - CONFIDENCE) / 2
    return Estimate(value=value, low=_quantile(found, aside), high=_quantile(found, 1 - aside))


def _of_equal(value: float, rows: int, limits: Limits) -> Estimate:
    """Where all questions came out alike: the largest share of others that a sample of this size may well have missed (Clopper and Pearson, 1934)."""
    if limits is None:
        return Estimate(value=value)
    reach = 1 - ((1 - CONFIDENCE) / 2) ** (1 / rows)
    return Estimate(value=value, low=max(limits[0], value - reach), high=min(limits[1], value + reach))


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Linear between two neighbours."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
