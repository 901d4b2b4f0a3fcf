"""The run's validation rows as questions: token ids as they were prepared, split where the last answer begins."""

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from entrypoint.run.shards import read_shards
from schemas.method import RowKind


@dataclass(frozen=True)
class Text:
    """Token ids and which of them are learned."""

    ids: list[int]
    learned: list[int]
    """Places, none of them 0: nothing is said of a first token."""


@dataclass(frozen=True)
class OwnRow:
    """One validation row; of a pair the chosen side, with the other in `rejected`."""

    id: str
    text: Text
    prompt: list[int]
    """Empty where the row is no question: raw text, or all of it is learned."""

    expected: list[int]
    rejected: Text | None = None


def read_rows(prepared: Path, kind: RowKind, limit: int, seed: int) -> list[OwnRow]:
    """At most `limit` validation rows, the same for the same seed; of labelled ones those that are wanted. Empty where there is no validation."""
    found: list[tuple[Text, bool]] = []
    for shard in read_shards(prepared, "validation"):
        wanted = shard.get("desirable", np.ones(len(shard["starts"]) - 1, dtype=np.uint8))
        found += [
            (_text(shard["ids"][start:end], shard["supervised"][start:end]), bool(is_wanted))
            for start, end, is_wanted in zip(shard["starts"][:-1], shard["starts"][1:], wanted, strict=True)
        ]
    step = 2 if kind == "pair" else 1
    numbers = [number for number in range(len(found) // step) if found[number * step][1] and found[number * step][0].learned]
    if len(numbers) > limit:
        numbers = sorted(random.Random(seed).sample(numbers, limit))
    return [_row(number, found[number * step][0], found[number * step + 1][0] if kind == "pair" else None) for number in numbers]


def _text(ids: np.ndarray, supervised: np.ndarray) -> Text:
    return Text([int(token) for token in ids], [int(place) for place in np.flatnonzero(supervised) if place > 0])


def _row(number: int, text: Text, rejected: Text | None) -> OwnRow:
    start = last_answer(text)
    prompt, expected = (text.ids[:start], text.ids[start : text.learned[-1] + 1]) if start > 1 else ([], [])
    return OwnRow(f"row-{number + 1}", text, prompt, expected, rejected)


def last_answer(text: Text) -> int:
    """Where the last stretch of learned tokens begins."""
    start = text.learned[-1]
    for place in reversed(text.learned[:-1]):
        if place != start - 1:
            break
        start = place
    return start
