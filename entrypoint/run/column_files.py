"""Rows of Parquet and Arrow files, through pyarrow, a batch at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from entrypoint.run.rejection import Rejected
from entrypoint.run.text_files import NO_ROWS, TWICE, Records, open_plain

BATCH_ROWS = 512


def read_column_file(path: Path, shown: str, kind: str, skip: int = 0) -> Records:
    """Rows of one .parquet or .arrow file as mappings of Python values, without the first `skip` of them."""
    import pyarrow

    number = 0
    try:
        batches = _parquet(path) if kind == ".parquet" else _arrow(path)
        for batch in batches:
            if len(set(batch.schema.names)) != len(batch.schema.names):
                yield Rejected(shown, TWICE, ", ".join(sorted({n for n in batch.schema.names if batch.schema.names.count(n) > 1})[:4]), rest_lost=True)
                return
            if number + batch.num_rows <= skip:
                number += batch.num_rows
                continue
            for value in batch.to_pylist():
                number += 1
                if number > skip:
                    # Every row has every column of the file: one that is null in this row is one that it does not have.
                    yield f"{shown}:row {number}", without_null(value)
        if not number:
            yield Rejected(shown, NO_ROWS)
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:  # the last of a time that Python's calendar does not have
        yield Rejected(shown, f"not a {kind} file that pyarrow reads to its end", " ".join(str(error).split())[:200], rest_lost=True)


def without_null(value: Any) -> Any:
    """The same without keys whose value is null, at any depth: columns give every object all keys that any of them has."""
    if isinstance(value, dict):
        return {k: without_null(v) for k, v in value.items() if v is not None}
    return [without_null(v) for v in value] if isinstance(value, list) else value


def _parquet(path: Path) -> Iterator[Any]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path, memory_map=True, pre_buffer=False) as file:
        yield from file.iter_batches(BATCH_ROWS, use_threads=False)


def _arrow(path: Path) -> Iterator[Any]:
    """As `datasets` saves (a stream) or as a file with an index; a compressed one is a stream."""
    import pyarrow

    if path.suffix.lower() != ".arrow":
        with open_plain(path) as stream, pyarrow.ipc.open_stream(stream) as reader:
            yield from _in_pieces(reader)
        return
    with pyarrow.memory_map(str(path)) as mapped:
        try:
            file = pyarrow.ipc.open_file(mapped)
        except pyarrow.ArrowInvalid:
            mapped.seek(0)
            yield from _in_pieces(pyarrow.ipc.open_stream(mapped))
            return
        yield from _in_pieces(file.get_batch(i) for i in range(file.num_record_batches))


def _in_pieces(batches: Any) -> Iterator[Any]:
    for batch in batches:
        for at in range(0, batch.num_rows, BATCH_ROWS):
            yield batch.slice(at, BATCH_ROWS)
