"""Lines of a file, of which none is held that is larger than a row may be: a file without line breaks would fill the memory."""

from collections.abc import Iterator
from typing import IO, AnyStr

LINE_BYTES = 64 * 2**20
"""Bytes; of a text, characters."""

TOO_LARGE = f"a line larger than {LINE_BYTES >> 20} MiB"


def bounded_lines(stream: IO[AnyStr]) -> Iterator[AnyStr | None]:
    """Every line with its end; None in place of one that is too large, which is read over."""
    while line := stream.readline(LINE_BYTES + 1):
        if len(line) <= LINE_BYTES:
            yield line
            continue
        while line and not _ends(line):
            line = stream.readline(2**20)
        yield None


def _ends(line: str | bytes) -> bool:
    return line.endswith(b"\n") if isinstance(line, bytes) else line.endswith(("\n", "\r"))
