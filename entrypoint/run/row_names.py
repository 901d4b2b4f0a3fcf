"""Which files hold rows, by their names alone."""

from pathlib import Path

COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
TEXT_SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".txt")
COLUMN_SUFFIXES = (".parquet", ".arrow")
SUFFIXES = (*TEXT_SUFFIXES, *COLUMN_SUFFIXES)
"""Endings of files that hold rows."""


def kind_of(name: str) -> str:
    """The ending that says how a file is read, compression taken off; empty for a file that is not read."""
    path = Path(name.lower())
    packed = path.suffix in COMPRESSIONS
    inner = Path(path.stem).suffix if packed else path.suffix
    if inner not in SUFFIXES or (packed and inner == ".parquet"):  # Parquet is read from its end, and compressed inside
        return ""
    return inner
