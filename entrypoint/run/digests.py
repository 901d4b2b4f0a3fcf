"""A set of row contents in 16 bytes a row, for rows by the hundred million."""

import hashlib
import json
from collections.abc import Sequence

import numpy as np

from entrypoint.run.rows import Row

SPLIT, WEIGHT, CHOICE, CONTENT = slice(0, 6), slice(6, 11), slice(11, 16), slice(16, 32)
"""Bytes of a digest: each decision has its own, so that none depends on another."""


ENCODER = json.JSONEncoder(ensure_ascii=False)


def digest(row: Row, seed: int) -> bytes:
    """32 bytes that depend on the row's content and the seed alone."""
    plain = row.kind == "conversation" and not row.tools
    content = row.messages if plain else [row.kind, row.messages, row.rejected, row.tools, row.text, row.desirable]
    return hashlib.sha256(ENCODER.encode([seed, content]).encode("utf-8", "surrogatepass")).digest()


def share_of(part: bytes) -> float:
    """Some bytes of a digest as a number from 0 to 1, 1 excluded."""
    return float(int.from_bytes(part, "big") / (1 << 8 * len(part)))


class DigestSet:
    """Sorted runs that are merged as they grow, two numbers of 64 bits a row; exact but for two contents of one digest, 1 in 2^64 at 4 billion rows."""

    def __init__(self) -> None:
        self.runs: list[tuple[np.ndarray, np.ndarray]] = []
        """First and second half, uint64 of shape (rows,), by the first in ascending order."""

    def __len__(self) -> int:
        return sum(len(first) for first, _ in self.runs)

    def contains(self, keys: np.ndarray) -> np.ndarray:
        """Which keys, uint64 of shape (n, 2), are in the set: bool of shape (n,)."""
        found = np.zeros(len(keys), dtype=bool)
        for first, second in self.runs:
            at = np.searchsorted(first, keys[:, 0])
            while True:  # one turn but for contents that share their first half
                there = at < len(first)
                same = np.zeros(len(keys), dtype=bool)
                same[there] = first[at[there]] == keys[there, 0]
                if not same.any():
                    break
                found[same] |= second[at[same]] == keys[same, 1]
                at = at + 1
        return found

    def add(self, keys: np.ndarray) -> None:
        """Put keys in that are not there yet, uint64 of shape (n, 2)."""
        if not len(keys):
            return
        self.runs.append(_sorted(keys[:, 0], keys[:, 1]))
        while len(self.runs) > 1 and len(self.runs[-2][0]) < 2 * len(self.runs[-1][0]):
            (a, b), (c, d) = self.runs.pop(), self.runs.pop()
            self.runs.append(_sorted(np.concatenate([c, a]), np.concatenate([d, b])))


def _sorted(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(first, kind="stable")
    return first[order], second[order]


def keys_of(digests: Sequence[bytes]) -> np.ndarray:
    """The keys of some digests, uint64 of shape (n, 2)."""
    return np.frombuffer(b"".join(d[CONTENT] for d in digests), dtype=">u8").astype(np.uint64).reshape(-1, 2)
