"""Training rows that weights with fewer bits are fitted on: drawn from the prepared shards, so that they look as what the model will be asked."""

from pathlib import Path
from typing import Any

import numpy as np

from entrypoint.run.shards import read_shard

SHORTEST = 8
"""Tokens. Rows below it say nothing about activations."""


def draw(prepared: Path, rows: int, length: int, seed: int) -> list[np.ndarray]:
    """At most `rows` training rows that the seed chooses, as many from each shard, each cut to `length` tokens; int64 arrays of shape (tokens,).

    One shard lies in memory at a time. Rows are not put together: a template's turns stay as they are served.
    """
    files = sorted(prepared.glob("train-*.safetensors"))
    chance = np.random.default_rng(seed)
    found: list[np.ndarray] = []
    for at, path in enumerate(files):
        share = -(-(rows - len(found)) // (len(files) - at))  # what a short shard lacks, later ones give
        arrays = read_shard(path)
        ids, starts = arrays["ids"], arrays["starts"]
        long_enough = np.flatnonzero(np.diff(starts) >= SHORTEST)
        chosen = chance.permutation(long_enough)[:share]
        found += [ids[starts[row] : starts[row + 1]][:length].astype(np.int64) for row in chosen]
    return found


def loader(rows: list[np.ndarray]) -> Any:
    """What llm-compressor reads: one row a batch, so that nothing is padded and nothing cut."""
    import torch
    from torch.utils.data import DataLoader

    def batch(items: list[np.ndarray]) -> dict[str, Any]:
        ids = torch.from_numpy(items[0])[None]
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    return DataLoader(rows, batch_size=1, collate_fn=batch)
