"""Which rows lie together in one pack: best fit decreasing, by lengths alone."""

import numpy as np

from schemas.packs import place


class Packs:
    """Rows of given lengths in packs of at most `size` tokens; `len` is the number of packs.

    The same lengths give the same packs, on any machine and by any number of processes.
    """

    def __init__(self, lengths: np.ndarray, size: int):
        """`lengths` is int64 of shape (rows,), tokens, none over `size`."""
        bins = best_fit_decreasing(lengths, size)
        self.members = np.argsort(bins, kind="stable")
        """Row numbers, pack after pack."""

        self.starts = np.concatenate([[0], np.cumsum(np.bincount(bins))]) if len(bins) else np.zeros(1, dtype=np.int64)
        """Pack i is members[starts[i]:starts[i + 1]]."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def rows(self, pack: int) -> np.ndarray:
        """Row numbers of one pack."""
        return self.members[self.starts[pack] : self.starts[pack + 1]]


def best_fit_decreasing(lengths: np.ndarray, size: int) -> np.ndarray:
    """The pack of each row, int64 of shape (rows,): longest rows first, each into the fullest pack that still has room for it: schemas/packs.py."""
    if len(lengths) and int(lengths.max()) > size:
        raise ValueError(f"a row of {int(lengths.max())} tokens in packs of {size}")
    order = np.argsort(-lengths, kind="stable")
    different, counts = np.unique(lengths, return_counts=True)
    placed = place(different[::-1].tolist(), counts[::-1].tolist(), size)
    first, each, rows = (np.repeat(np.asarray(column, dtype=np.int64), placed.rows) for column in (placed.packs, placed.each, placed.rows))
    ends = np.cumsum(np.asarray(placed.rows, dtype=np.int64))
    within = np.arange(len(lengths)) - np.repeat(ends, placed.rows) + rows
    found = np.empty(len(lengths), dtype=np.int64)
    found[order] = first + within // each
    return found
