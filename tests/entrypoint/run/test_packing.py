"""Packs: every row once, none over the size, and as few packs as the plain algorithm makes."""

from bisect import bisect_left, insort

import pytest

pytestmark = pytest.mark.image
np = pytest.importorskip("numpy")

from entrypoint.run.packing import Packs, best_fit_decreasing  # noqa: E402


def plain(lengths: list[int], size: int) -> int:
    """Best fit decreasing as the textbooks have it, row by row; the number of packs."""
    room: list[int] = []
    packs = 0
    for length in sorted(lengths, reverse=True):
        at = bisect_left(room, length)
        if at == len(room):
            packs += 1
            insort(room, size - length)
        else:
            insort(room, room.pop(at) - length)
    return packs


@pytest.mark.parametrize("seed", range(40))
def test_as_the_plain_algorithm(seed: int) -> None:
    draw = np.random.default_rng(seed)
    size = int(draw.integers(5, 200))
    lengths = draw.integers(1, size + 1, int(draw.integers(1, 400)))
    packs = Packs(lengths, size)
    assert len(packs) == plain(lengths.tolist(), size)
    assert sorted(packs.members.tolist()) == list(range(len(lengths)))
    assert max(int(lengths[packs.rows(i)].sum()) for i in range(len(packs))) <= size


def test_many_rows_leave_next_to_no_room() -> None:
    lengths = np.clip(np.random.default_rng(1).lognormal(5, 0.8, 20_000), 4, 2048).astype(np.int64)
    assert len(Packs(lengths, 2048)) <= 1.001 * lengths.sum() / 2048


def test_the_same_lengths_give_the_same_packs() -> None:
    lengths = np.random.default_rng(2).integers(1, 100, 1000)
    assert (best_fit_decreasing(lengths, 128) == best_fit_decreasing(lengths.copy(), 128)).all()


def test_edges() -> None:
    assert len(Packs(np.zeros(0, dtype=np.int64), 8)) == 0
    assert best_fit_decreasing(np.array([8, 8, 8]), 8).tolist() == [0, 1, 2]
    assert best_fit_decreasing(np.array([1] * 17), 8).tolist() == [0] * 8 + [1] * 8 + [2]
    with pytest.raises(ValueError, match="a row of 9 tokens in packs of 8"):
        best_fit_decreasing(np.array([3, 9]), 8)
