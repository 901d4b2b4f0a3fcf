"""Prepared shards as rows for a trainer."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, disable_progress_bars
from datasets.table import InMemoryTable

from entrypoint.run.row_order import masked
from entrypoint.run.shards import read_shards
from schemas.errors import GateRefused
from schemas.method import RowKind

IGNORED = -100
"""Label of a token that no loss is taken from."""

PREPARE_AGAIN = "remove the prepared folder and run the same command again: prepare writes it anew"


class PreparedRows(Dataset):  # type: ignore[misc]
    """Rows that are ready: TRL's trainers would render and tokenize them once more, each in its own way."""

    def map(self, *args: Any, **kwargs: Any) -> "PreparedRows":
        """As they are."""
        return self


def token_rows(folder: Path, split: str, kind: RowKind = "text") -> PreparedRows | None:
    """Rows of prepared shards as a dataset, one entry an example; None for a split without rows.

    `input_ids` and `labels` are int64 of shape (tokens,), -100 where no loss is taken. A pair is one entry, the chosen side first:
    `chosen` is its number of tokens. A labelled row has `label`, true for a wanted answer. The arrays go into Arrow as they are: no row is copied one by one.
    """
    shards = read_shards(folder, split)
    return rows_of_shards(shards, kind, f"{folder}, {split}") if shards else None


def rows_of_shards(shards: list[dict[str, np.ndarray]], kind: RowKind, where: str) -> PreparedRows:
    """The same of shards that are read; there is at least one."""
    disable_progress_bars()
    table = InMemoryTable(pa.concat_tables([_table(shard, kind, where) for shard in shards]))
    # Without a fingerprint `datasets` pickles the whole table to make one; nothing here is cached by it.
    rows: PreparedRows = PreparedRows(table, fingerprint=sha256(where.encode()).hexdigest()[:16]).with_format("numpy")
    return rows


def _table(shard: dict[str, np.ndarray], kind: RowKind, where: str) -> pa.Table:
    ids, starts = shard["ids"].astype(np.int64), shard["starts"]
    labels = np.where(shard["supervised"] == 1, ids, IGNORED)
    further = {}
    if kind == "pair":
        if len(starts) % 2 == 0:
            raise GateRefused(f"{where}: an odd number of rows are no pairs of chosen and rejected", PREPARE_AGAIN)
        further["chosen"] = (starts[1::2] - starts[:-1:2]).astype(np.int32)
        starts = starts[::2]
    if kind == "labelled":
        if "desirable" not in shard:
            raise GateRefused(f"{where}: answers have no labels", PREPARE_AGAIN)
        further["label"] = shard["desirable"].astype(bool)
    offsets = pa.array(starts.astype(np.int32))
    columns = {name: pa.ListArray.from_arrays(offsets, pa.array(values)) for name, values in (("input_ids", ids), ("labels", labels))}
    return pa.table({**columns, **{name: pa.array(values) for name, values in further.items()}})


def row_lengths(folder: Path, split: str) -> np.ndarray:
    """Tokens of each prepared row, int64 of shape (rows,), in the order of `token_rows`."""
    return np.concatenate([np.diff(shard["starts"]) for shard in read_shards(folder, split)])


class DealtRows:
    """Rows by the numbers of a RowOrder; a negative one is a row that no loss is taken from."""

    def __init__(self, rows: Any):
        self.rows = rows
        self.is_text = set(rows.column_names) == {"input_ids", "labels"}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> dict[str, Any]:
        if number >= 0:
            return dict(self.rows[number])
        row = self.rows[masked(number)]
        if self.is_text:
            return {**row, "labels": np.full_like(row["labels"], IGNORED)}
        return {**row, "counts": False}  # whole: a mean over no token is no number, so the trainer weighs it with 0
