"""Token shards: rows of token ids with their loss mask, in safetensors files that are mapped, not read.

A file SPLIT-NNNNN.safetensors holds `ids` int32 (tokens,), `supervised` uint8 (tokens,) and `starts` int64 (rows + 1,): row i is
ids[starts[i]:starts[i + 1]]. Of labelled rows it also holds `desirable` uint8 (rows,): docs/decisions/007.
"""

import os
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from entrypoint.run.template import Encoded

LOOSE_ROWS = 1024
"""Rows that are kept singly before they are put together."""


class ShardWriter:
    """Collects rows of one split and writes them as a file when told to."""

    def __init__(self, folder: Path, split: str, labelled: bool = False):
        self.folder, self.split, self.labelled = folder, split, labelled
        self._clear()

    def _clear(self) -> None:
        self.loose: list[Encoded] = []
        self.blocks: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.desirable: list[int] = []
        self.held = 0
        """Tokens."""

    def add(self, row: Encoded, desirable: bool = True) -> None:
        """Append one row."""
        self.loose.append(row)
        self.held += len(row.ids)
        if self.labelled:
            self.desirable.append(int(desirable))
        if len(self.loose) >= LOOSE_ROWS:
            self._put_together()

    def _put_together(self) -> None:
        """Rows as arrays of their own take more memory than their tokens."""
        if self.loose:
            lengths = np.fromiter((len(r.ids) for r in self.loose), dtype=np.int64, count=len(self.loose))
            self.blocks.append((np.concatenate([r.ids for r in self.loose]), np.concatenate([r.supervised for r in self.loose]), lengths))
            self.loose = []

    def flush(self, number: int) -> Path | None:
        """Write what is held as file `number` of the split, durably; None where there is nothing."""
        self._put_together()
        if not self.blocks:
            return None
        lengths = np.concatenate([lengths for *_, lengths in self.blocks])
        starts = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=starts[1:])
        arrays = {"ids": np.concatenate([ids for ids, *_ in self.blocks]), "supervised": np.concatenate([mask for _, mask, _ in self.blocks]), "starts": starts}
        if self.labelled:
            arrays["desirable"] = np.array(self.desirable, dtype=np.uint8)
        self._clear()
        path = self.folder / f"{self.split}-{number:05d}.safetensors"
        draft = path.with_suffix(".draft")
        save_file(arrays, draft)
        with draft.open("rb") as stream:
            os.fsync(stream.fileno())
        draft.replace(path)
        return path


def read_shard(path: Path) -> dict[str, np.ndarray]:
    """The arrays of one file."""
    arrays: dict[str, np.ndarray] = load_file(path)
    return arrays


def read_shards(folder: Path, split: str) -> list[dict[str, np.ndarray]]:
    """The arrays of each file of a split, in order."""
    return [read_shard(path) for path in sorted(folder.glob(f"{split}-*.safetensors"))]
