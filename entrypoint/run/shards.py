"""Token shards: rows of token ids with their loss mask, in safetensors files that are mapped, not read.

A file SPLIT-NNNNN.safetensors holds `ids` int32 (tokens,), `supervised` uint8 (tokens,) and `starts` int64 (rows + 1,): row i is
ids[starts[i]:starts[i + 1]].
"""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from entrypoint.run.template import Encoded

SHARD_TOKENS = 16_000_000
"""Tokens after which a new file begins: 80 MB, so that writing holds little in memory."""


class ShardWriter:
    """Collects rows of one split and writes a file whenever enough are there."""

    def __init__(self, folder: Path, split: str):
        self.folder, self.split = folder, split
        self.rows: list[Encoded] = []
        self.held = self.files = 0

    def add(self, row: Encoded) -> None:
        """Append one row."""
        self.rows.append(row)
        self.held += len(row.ids)
        if self.held >= SHARD_TOKENS:
            self.flush()

    def flush(self) -> None:
        """Write what is held; call once more at the end."""
        if not self.rows:
            return
        starts = np.zeros(len(self.rows) + 1, dtype=np.int64)
        np.cumsum([len(r.ids) for r in self.rows], out=starts[1:])
        arrays = {"ids": np.concatenate([r.ids for r in self.rows]), "supervised": np.concatenate([r.supervised for r in self.rows]), "starts": starts}
        save_file(arrays, self.folder / f"{self.split}-{self.files:05d}.safetensors")
        self.rows, self.held, self.files = [], 0, self.files + 1


def read_shards(folder: Path, split: str) -> list[dict[str, np.ndarray]]:
    """The arrays of each file of a split, in order."""
    return [load_file(path) for path in sorted(folder.glob(f"{split}-*.safetensors"))]
