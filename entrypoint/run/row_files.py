"""A fetched source -> its rows as they lie in its files, file after file in name order."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from entrypoint.run.column_files import read_column_file
from entrypoint.run.rejection import Rejected
from entrypoint.run.row_names import COLUMN_SUFFIXES, SUFFIXES, kind_of
from entrypoint.run.text_files import Records, read_text_file


@dataclass
class Place:
    """How far a source has been read."""

    file: int = 0
    row: int = 0
    """Rows of that file, bad ones included."""

    part: int = 0
    """Of the last of them, rows that a preprocessor made of it and that were taken; 0 where all were."""


def read_files(folder: Path, source: str, place: Place | None = None) -> Records:
    """Every row of a source from `place` on, which is moved along: a run that was stopped goes on there without parsing again."""
    place = place or Place()
    for number, (path, shown) in enumerate(_each_file(folder, source)):
        if number < place.file:
            continue
        if number > place.file:
            place.file, place.row = number, 0
        for record in _read(path, shown, place.row):
            place.row += 1
            yield record


def read_file(path: Path, shown: str) -> Records:
    """Every row of one file."""
    return _read(path, shown, 0)


def _read(path: Path, shown: str, skip: int) -> Records:
    kind = kind_of(path.name)
    if not kind:
        return iter([] if skip else [Rejected(shown, f"not a file of rows: {', '.join(SUFFIXES)}", rest_lost=True)])
    return read_column_file(path, shown, kind, skip) if kind in COLUMN_SUFFIXES else read_text_file(path, shown, kind, skip)


def _each_file(folder: Path, source: str) -> Iterator[tuple[Path, str]]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    for path in files:
        yield path, source if len(files) == 1 else f"{source.rstrip('/')}/{path.relative_to(folder).as_posix()}"
