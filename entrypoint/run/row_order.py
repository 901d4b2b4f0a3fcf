"""Which rows each optimizer step learns from: a pure function of seed, epoch and position, whatever the number of processes."""

import math
from collections.abc import Iterator

import numpy as np

WINDOW, BLOCK = 1024, 16
"""Rows that are sorted by length together, and neighbours of like length that stay together."""


class RowOrder:
    """Batches of row numbers for one rank; a batch sampler for torch's DataLoader.

    Every epoch is one permutation, cut into steps of `rows_per_step`. The rows of a step are dealt out to the ranks one by one, so
    the same step holds the same rows on any number of them: a run that goes on with fewer loses no row and sees none twice.
    """

    def __init__(self, rows: int, micro_batch: int, accumulation: int, rank: int, ranks: int, seed: int, lengths: np.ndarray | None = None):
        """With `lengths`, int64 of shape (rows,), rows of like length come together."""
        self.lengths = lengths
        self.rows, self.micro_batch, self.accumulation, self.rank, self.ranks, self.seed = rows, micro_batch, accumulation, rank, ranks, seed
        self.epoch = self.start = 0
        """Where the next step begins: rows of this epoch before it."""

    @property
    def rows_per_step(self) -> int:
        return self.micro_batch * self.accumulation * self.ranks

    def steps_left(self) -> int:
        """Optimizer steps to the end of the epoch."""
        return -(-(self.rows - self.start) // self.rows_per_step)

    def total_steps(self, done: int, epochs: float) -> int:
        """Optimizer steps of a whole run of which `done` brought it to here, though maybe with other rows in each."""
        whole, rest = int(epochs), epochs % 1
        each = -(-self.rows // self.rows_per_step)
        last = math.ceil(round(rest * each, 6))  # 0.1 x 30 is a little more than 3
        if self.epoch >= whole:
            return done + max(0, last - -(-self.start // self.rows_per_step))
        return done + self.steps_left() + (whole - self.epoch - 1) * each + last

    def __len__(self) -> int:
        """Micro-batches of this rank to the end of the epoch."""
        whole, rest = divmod(self.rows - self.start, self.rows_per_step)
        return whole * self.accumulation + -(-rest // (self.micro_batch * self.ranks))

    def __iter__(self) -> Iterator[list[int]]:
        order = self.permutation(self.epoch)
        for at in range(self.start, self.rows, self.rows_per_step):
            step = order[at : at + self.rows_per_step]
            for first in range(0, len(step), self.micro_batch * self.ranks):
                dealt = step[first : first + self.micro_batch * self.ranks]
                # A rank without a row in the last micro-batch still has to compute something: a row that no loss is taken from.
                yield [int(row) for row in dealt[self.rank :: self.ranks]] or [masked(int(dealt[0]))]

    def permutation(self, epoch: int) -> np.ndarray | range:
        """Row numbers in the order of an epoch, int64 of shape (rows,)."""
        generator = np.random.Generator(np.random.PCG64([self.seed, epoch]))
        order = generator.permutation(self.rows)
        return order if self.lengths is None else _grouped(order, self.lengths, generator)

    def move(self, epoch: int, start: int, done: int) -> None:
        """To where the next step begins; `done` steps were taken."""
        self.epoch, self.start = epoch, start

    def step_rows(self) -> np.ndarray | range:
        """Row numbers of the step at the current position, all ranks."""
        return self.permutation(self.epoch)[self.start : self.start + self.rows_per_step]

    def dealt(self, micro: int, rank: int) -> list[int]:
        """Row numbers of one micro-batch of the current step on one rank."""
        width = self.micro_batch * self.ranks
        return [int(row) for row in self.step_rows()[micro * width : (micro + 1) * width][rank :: self.ranks]]

    def advance(self) -> bool:
        """Move behind the current step; says whether that ended the epoch."""
        self.start += self.rows_per_step
        if self.start < self.rows:
            return False
        self.epoch, self.start = self.epoch + 1, 0
        return True


def _grouped(order: np.ndarray, lengths: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The same rows, sorted by length within windows of the shuffled order and dealt out in blocks whose order is shuffled anew.

    Windows and blocks have fixed sizes: by those of a batch the order would change with the number of processes.
    """
    blocks: list[np.ndarray] = []
    for at in range(0, len(order), WINDOW):
        window = order[at : at + WINDOW]
        window = window[np.argsort(lengths[window], kind="stable")]
        blocks += [window[start : start + BLOCK] for start in range(0, len(window), BLOCK)]
    return np.concatenate([blocks[index] for index in generator.permutation(len(blocks))])


class InOrder(RowOrder):
    """Each row once, as they lie, dealt out in the same way: for validation."""

    def permutation(self, epoch: int) -> range:
        """0, 1, 2 and so on."""
        return range(self.rows)


class StreamOrder(InOrder):
    """Positions in a stream of rows, one epoch of as many as a whole run has steps for."""

    def __init__(self, steps: int, micro_batch: int, accumulation: int, rank: int, ranks: int):
        super().__init__(steps * micro_batch * accumulation * ranks, micro_batch, accumulation, rank, ranks, seed=0)
        self.steps = steps

    def move(self, epoch: int, start: int, done: int) -> None:
        """As RowOrder's; with other rows a step than before, the steps that are left reach another end."""
        super().move(epoch, start, done)
        self.rows = start + (self.steps - done) * self.rows_per_step

    @property
    def taken(self) -> int:
        """Positions that were learned from so far."""
        return self.rows if self.epoch else self.start


def masked(row: int) -> int:
    """The number that stands for a row without any loss; its own inverse."""
    return -1 - row
