"""Prepared shards as rows for a trainer."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, disable_progress_bars
from datasets.table import InMemoryTable

from entrypoint.run.row_order import masked
from entrypoint.run.shards import read_shards

IGNORED = -100
"""Label of a token that no loss is taken from."""


def token_rows(folder: Path, split: str) -> Dataset | None:
    """Rows of prepared shards as a dataset with `input_ids` and `labels`, int64 of shape (tokens,), -100 where no loss is taken.

    None for a split without rows. The arrays go into Arrow as they are: no row is copied one by one.
    """
    disable_progress_bars()
    tables = []
    for shard in read_shards(folder, split):
        ids = shard["ids"].astype(np.int64)
        labels = np.where(shard["supervised"] == 1, ids, IGNORED)
        starts = pa.array(shard["starts"].astype(np.int32))
        columns = {name: pa.ListArray.from_arrays(starts, pa.array(values)) for name, values in (("input_ids", ids), ("labels", labels))}
        tables.append(pa.table(columns))
    return Dataset(InMemoryTable(pa.concat_tables(tables))).with_format("numpy") if tables else None


def row_lengths(folder: Path, split: str) -> np.ndarray:
    """Tokens of each prepared row, int64 of shape (rows,), in the order of `token_rows`."""
    return np.concatenate([np.diff(shard["starts"]) for shard in read_shards(folder, split)])


class DealtRows:
    """Rows by the numbers of a RowOrder; a negative one is a row without any loss."""

    def __init__(self, rows: Any):
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> dict[str, Any]:
        if number >= 0:
            return dict(self.rows[number])
        row = self.rows[masked(number)]
        return {**row, "labels": np.full_like(row["labels"], IGNORED)}
