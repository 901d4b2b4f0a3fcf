"""Rows that are prepared while they are trained on: a position in the stream -> what lies there."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from entrypoint.run.packed_rows import DealtPacks
from entrypoint.run.packing import Packs
from entrypoint.run.parts import Parts
from entrypoint.run.row_order import masked
from entrypoint.run.shards import read_shard
from entrypoint.run.tally import Tally
from entrypoint.run.token_rows import DealtRows, rows_of_shards
from schemas.errors import MachineError
from schemas.method import RowKind

POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Stretch:
    """The positions of one part in one pass over the stream."""

    start: int
    part: int
    order: np.ndarray
    """Of its packs or rows, int64 of shape (packs,)."""

    dealt: DealtRows | DealtPacks
    first_row: int
    """Number of its first row among all that are prepared."""

    @property
    def end(self) -> int:
        """The first position behind it."""
        return self.start + len(self.order)


class StreamedRows:
    """What the numbers of a StreamOrder stand for: parts as they come, each shuffled by the seed; behind the last one all parts again, shuffled.

    Positions may only move on, but for those of one step.
    """

    meanwhile: Callable[[], None] = staticmethod(lambda: None)
    """Called while the next part is waited for; may raise."""

    def __init__(self, folder: Path, key: str, kind: RowKind, pack_length: int | None, seed: int, planned: int, reach: int):
        """Parts of the job with this key lie in `folder`; `planned` is how many positions a whole run has, `reach` how many a step has."""
        self.folder, self.kind, self.pack_length, self.seed, self.planned, self.reach = folder, kind, pack_length, seed, planned, reach
        self.parts = Parts(folder, key)
        self.round = 0
        self.queue: list[int] = []
        """Parts of a later round that are still to come."""

        self.known: list[int] = []
        """Rows of each part so far, in order."""

        self.stretches: list[Stretch] = []
        """The one that is read, and those before it that a step can reach back into."""

        self.ended = False

    def __len__(self) -> int:
        return self.planned

    def __getitem__(self, number: int) -> Any:
        """As DealtRows and DealtPacks; a negative number is what stands in, without any loss."""
        stretch, at = self._find(number if number >= 0 else masked(number))
        return stretch.dealt[at if number >= 0 else masked(at)]

    def prepared_rows(self, number: int) -> list[int]:
        """The prepared rows that lie at a position, counted from the first of the first part."""
        stretch, at = self._find(number)
        found = stretch.dealt.packs.rows(at) if isinstance(stretch.dealt, DealtPacks) else [at]
        return [stretch.first_row + int(row) for row in found]

    def report(self, position: int, max_length: int, deduplicate: bool) -> dict[str, Any]:
        """What the gate counted up to the end of the furthest part that positions before this one reach into, as report.json has it."""
        self._find(max(0, position - 1))
        furthest = len(self.known) - 1
        record = self._record(furthest)
        return Tally.restore(record["tally"]).report(max_length, deduplicate) | {"parts": furthest + 1, "ended": self.ended}

    def _find(self, position: int) -> tuple[Stretch, int]:
        while not self.stretches or position >= self.stretches[-1].end:
            self.stretches = [*(s for s in self.stretches if s.end > position - self.reach), self._next()]
        stretch = next(s for s in reversed(self.stretches) if s.start <= position)
        return stretch, int(stretch.order[position - stretch.start])

    def _next(self) -> Stretch:
        """The stretch behind the last one."""
        start = self.stretches[-1].end if self.stretches else 0
        while not self.ended:
            found = self._open(len(self.known), start)
            if found is not None:
                return found
        if not self.queue:
            self.round += 1
            self.queue = [int(part) for part in self._shuffled(len(self.known), -1) if self.known[part]]
        again = self._open(self.queue.pop(0), start)
        assert again is not None  # it had rows
        return again

    def _open(self, part: int, start: int) -> Stretch | None:
        """A part as a stretch; None where it has no training rows. Waits until it is sealed."""
        record = self._record(part)
        self.ended = self.ended or record["ended"]
        first = sum(self.known[:part])
        name = f"train-{part:05d}.safetensors"
        shards = [read_shard(self.folder / name)] if name in record["files"] else []
        lengths = np.concatenate([np.diff(shard["starts"]) for shard in shards]) if shards else np.empty(0, dtype=np.int64)
        if part == len(self.known):
            self.known.append(len(lengths))
        if not shards:
            return None
        rows = rows_of_shards(shards, self.kind, f"{self.folder}, part {part}")
        dealt = DealtPacks(rows, Packs(lengths, self.pack_length)) if self.pack_length else DealtRows(rows)
        return Stretch(start, part, self._shuffled(len(dealt), part), dealt, first)

    def _record(self, part: int) -> dict[str, Any]:
        while not self.parts.is_sealed(part):
            self.meanwhile()
            time.sleep(POLL_SECONDS)
        record = self.parts.read(part)
        if record is None:
            raise MachineError(f"part {part} of the streamed rows is damaged: {self.folder}", "run the same command again: it is prepared anew")
        return record

    def _shuffled(self, count: int, part: int) -> np.ndarray:
        return np.random.Generator(np.random.PCG64([self.seed, self.round, part + 1])).permutation(count)
