"""Packs of best fit decreasing, by Caisson and by TRL, over two sets of lengths: efficiency, rows a second. Writes index.json.

`python bench/packing/index.py OUTPUT`, from the root, inside the train image. Lengths are lognormal, as in the field's comparisons: mean 203 in packs of 2,048, and
mean 777 in packs of 4,096. Efficiency is tokens over packs times their size; a best possible packing has the efficiency `bound`.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from datasets import Dataset
from trl.data_utils import _pack_bfd

from entrypoint.run.packing import Packs

SETS = {"A": (203, 2048, 100_000), "B": (777, 4096, 50_000)}
"""Mean length, size of a pack, rows."""

SPREAD = 0.9
TURNS = 5
TRL_BATCH = 1000
"""Rows that TRL packs at once where nothing else is said (datasets.map)."""


def main(output: Path) -> None:
    """Medians of five turns, in one run, one after the other."""
    found = {}
    for name, (mean, size, rows) in SETS.items():
        draw = np.random.default_rng(1)
        lengths = np.clip(draw.lognormal(np.log(mean) - SPREAD**2 / 2, SPREAD, rows), 4, size).astype(np.int64)
        table = _table(lengths)
        ways: dict[str, Callable[[], int]] = {
            "caisson": lambda lengths=lengths, size=size: len(Packs(lengths, size)),
            "trl, whole set": lambda table=table, size=size: _pack_bfd(table, size, "split").num_rows,
            "trl, batches of 1000": lambda table=table, size=size: sum(
                _pack_bfd(table.slice(at, TRL_BATCH).combine_chunks(), size, "split").num_rows for at in range(0, table.num_rows, TRL_BATCH)
            ),
        }
        tokens = int(lengths.sum())
        found[name] = {"rows": rows, "tokens": tokens, "size": size, "bound": round(tokens / (-(-tokens // size) * size), 6)}
        for way, pack in ways.items():
            seconds = []
            for _ in range(TURNS):
                began = time.perf_counter()
                packs = pack()
                seconds.append(round(time.perf_counter() - began, 4))
            median = statistics.median(seconds)
            found[name][way] = {"packs": packs, "efficiency": round(tokens / (packs * size), 6), "rows_per_second": round(rows / median), "seconds": seconds}
            print(name, way, found[name][way], flush=True)
    output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _table(lengths: np.ndarray) -> pa.Table:
    starts = np.concatenate([[0], np.cumsum(lengths)])
    ids = pa.array(np.zeros(int(starts[-1]), dtype=np.int32))
    return Dataset(pa.table({"input_ids": pa.ListArray.from_arrays(pa.array(starts.astype(np.int32)), ids)})).data.table


if __name__ == "__main__":
    main(Path(sys.argv[1]))
