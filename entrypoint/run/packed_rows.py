"""Packs of prepared rows for a trainer: what is dealt out, and how it becomes a batch."""

from typing import Any

import numpy as np
import torch

from entrypoint.run.packed_attention import places
from entrypoint.run.packing import Packs
from entrypoint.run.row_order import masked
from entrypoint.run.token_rows import IGNORED


class DealtPacks:
    """Packs by the numbers of a RowOrder over them, each a list of rows; a negative one is a pack without any loss."""

    def __init__(self, rows: Any, packs: Packs):
        self.rows, self.packs = rows, packs

    def __len__(self) -> int:
        return len(self.packs)

    def __getitem__(self, number: int) -> list[dict[str, np.ndarray]]:
        if number >= 0:
            return [dict(self.rows[int(row)]) for row in self.packs.rows(number)]
        # The shortest row will do: it is computed for nothing.
        row = min(self[masked(number)], key=lambda r: len(r["input_ids"]))
        return [{**row, "labels": np.full_like(row["labels"], IGNORED)}]


def collate(packs: list[list[dict[str, np.ndarray]]]) -> dict[str, Any]:
    """All rows of some packs as one sequence: input_ids and labels int64 (1, tokens), and what keeps rows apart.

    The first token of a row carries no loss: it would be predicted from the row before.
    """
    rows = [row for pack in packs for row in pack]
    labels = [row["labels"].copy() for row in rows]
    for row in labels:
        row[0] = IGNORED
    return {
        "input_ids": torch.from_numpy(np.concatenate([row["input_ids"] for row in rows])).unsqueeze(0),
        "labels": torch.from_numpy(np.concatenate(labels)).unsqueeze(0),
        **places([len(row["input_ids"]) for row in rows]),
    }
