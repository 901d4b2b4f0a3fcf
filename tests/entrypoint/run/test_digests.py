"""The set of contents, against Python's own."""

import random

import pytest

pytest.importorskip("numpy")

import numpy as np

from entrypoint.run.digests import CONTENT, SPLIT, DigestSet, digest, keys_of, share_of
from entrypoint.run.rows import Row

pytestmark = pytest.mark.image


def row(text, **other):
    return Row("x", ({"role": "user", "content": text}, {"role": "assistant", "content": "a"}), **other)


def test_it_knows_what_was_added_and_nothing_else():
    chance = random.Random(1)
    known, held = set(), DigestSet()
    for _ in range(60):
        batch = list({(chance.randrange(40), chance.randrange(400)) for _ in range(chance.randrange(1, 90))})  # many share their first half
        keys = np.array(batch, dtype=np.uint64)
        assert held.contains(keys).tolist() == [key in known for key in batch]
        fresh = [key for key in batch if key not in known]
        held.add(np.array(fresh, dtype=np.uint64).reshape(-1, 2))
        known |= set(fresh)
    assert len(held) == len(known)
    assert len(held.runs) <= 12


def test_sixteen_bytes_a_row():
    held = DigestSet()
    for at in range(50):
        held.add(np.stack([np.arange(1000), np.full(1000, at)], axis=1).astype(np.uint64))
    assert sum(a.nbytes + b.nbytes for a, b in held.runs) == 50_000 * 16


def test_content_decides_and_place_does_not():
    assert digest(row("q"), 1) == digest(Row("elsewhere", row("q").messages, extra=("id",)), 1)
    others = [row("p"), row("q", tools=({"function": {"name": "f"}},)), Row("x", kind="raw", text="q"), row("q", kind="labelled", desirable=False)]
    assert len({digest(r, 1) for r in [row("q"), *others, row("q", kind="labelled")]}) == 6
    assert digest(row("q"), 1) != digest(row("q"), 2)


def test_shares_are_even():
    shares = [share_of(digest(row(str(i)), 17)[SPLIT]) for i in range(4000)]
    assert all(0 <= share < 1 for share in shares)
    assert abs(sum(share < 0.25 for share in shares) / 4000 - 0.25) < 0.03
    assert keys_of([digest(row("q"), 1)]).shape == (1, 2)
    assert len(digest(row("q"), 1)[CONTENT]) == 16
