"""How near a compressed model is to the one that it was made from, on the golden prompts."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from entrypoint.run.greedy import distributions

Asked = tuple[list[int], list[int]]
"""Token ids of a prompt and of the reference's greedy answer."""


@dataclass(frozen=True)
class Quality:
    """Over all tokens of all answers of the reference, each predicted from the reference's own text before it."""

    tokens: int
    kl_per_token: float
    """Kullback-Leibler divergence of the reference from the other, nats."""

    agreement: float
    """Share of tokens that are the first choice of both."""


def references(model: Any, asked: list[Asked]) -> list[Any]:
    """Distributions of the reference; fp32 of shape (answer tokens, vocabulary) each."""
    return [distributions(model, *one) for one in asked]


def measure(expected: list[Any], model: Any, asked: list[Asked]) -> Quality:
    """Compare a model with what `references` gave. A distribution that is not made of numbers is infinitely far."""
    tokens, divergence, agreed = 0, 0.0, 0
    for first, second in _pairs(expected, model, asked):
        tokens += len(first)
        divergence += float((first.exp() * (first - second)).sum())
        agreed += int((first.argmax(-1) == second.argmax(-1)).sum())
    if not tokens:
        return Quality(0, 0.0, 1.0)
    return Quality(tokens, divergence / tokens if math.isfinite(divergence) else math.inf, agreed / tokens)


def _pairs(expected: list[Any], model: Any, asked: list[Asked]) -> Iterator[tuple[Any, Any]]:
    for first, one in zip(expected, asked, strict=True):
        yield first, distributions(model, *one)


def distance(model: Any, asked: list[Asked], logprobs: list[list[float]]) -> float:
    """Mean difference, nats, between the log-probabilities that a model gives to the tokens of given answers and those that were recorded."""
    differences = []
    for (prompt, ids), recorded in zip(asked, logprobs, strict=True):
        rows = distributions(model, prompt, ids)
        differences += [abs(float(rows[at, token]) - before) for at, (token, before) in enumerate(zip(ids, recorded, strict=True))]
    return sum(differences) / len(differences) if differences else 0.0
