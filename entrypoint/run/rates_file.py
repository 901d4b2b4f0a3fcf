"""Measured rates in the store, by device and packages."""

import fcntl
from pathlib import Path

from entrypoint.run.seal import write_durably
from schemas.rates import RATES, Rates, RatesFile, read_rates


def keep_rates(root: Path, rates: Rates) -> None:
    """In the place of what the same packages measured of the same device before. Raises OSError."""
    with (root / f"{RATES}.lock").open("w") as lock:  # machines of several kinds may share a store
        fcntl.flock(lock, fcntl.LOCK_EX)
        write_durably(root / RATES, known_rates(root).with_(rates).model_dump_json(indent=1) + "\n")


def known_rates(root: Path) -> RatesFile:
    """What is there; nothing where the file is damaged."""
    try:
        return read_rates((root / RATES).read_bytes())
    except FileNotFoundError:
        return RatesFile()
