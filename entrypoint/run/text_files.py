"""Rows of JSON Lines, JSON, CSV, TSV and plain text, compressed or not, each with its place; memory does not grow with the file."""

import bz2
import csv
import gzip
import io
import json
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from entrypoint.run.bounded_lines import TOO_LARGE, bounded_lines
from entrypoint.run.rejection import Rejected, first_words

DOCUMENT_BYTES = 64 * 2**20
"""A .txt file is one document, and one row of a .json array is held whole: larger ones are refused."""

CHUNK = 2**20
"""Bytes or characters that are read at once."""

NO_ROWS = "the file holds no rows"
TWICE = "two columns of one name"
AS_UTF16 = "it has bytes of zero, as UTF-16 and damaged files have: save the file as UTF-8"
AS_LIST = "a list of rows is a .json file: give it that ending"
BROKEN = (OSError, EOFError, lzma.LZMAError, zlib.error)
"""What a file that is cut or damaged raises: gzip.BadGzipFile and pyarrow's errors are OSErrors."""

Records = Iterator[tuple[str, Any] | Rejected]
"""Place and value of each row, or why there is none."""


def read_text_file(path: Path, shown: str, kind: str, skip: int = 0) -> Records:
    """Rows of one file of this kind (.jsonl, .json, .csv, .tsv, .txt), without the first `skip` of them; a damaged file ends with a rejection."""
    reader = READERS[kind]
    try:
        with open_plain(path) as stream:
            yield from reader(stream, shown, skip)
    except BROKEN as error:
        yield Rejected(shown, "the file cannot be read to its end", " ".join(str(error).split()), rest_lost=True)


def open_plain(path: Path) -> IO[bytes]:
    """The file's bytes, decompressed by its last ending."""
    ending = path.suffix.lower()
    if ending == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    if ending == ".bz2":
        return bz2.open(path, "rb")
    if ending == ".xz":
        return lzma.open(path, "rb")
    if ending == ".zst":
        import pyarrow

        return io.BufferedReader(pyarrow.CompressedInputStream(pyarrow.OSFile(str(path)), "zstd"), CHUNK)
    return path.open("rb", buffering=CHUNK)


def read_lines(stream: IO[bytes], shown: str, skip: int) -> Records:
    """JSON Lines: one value a line; blank lines count as lines, not as rows."""
    rows = 0
    for number, line in enumerate(bounded_lines(stream), start=1):
        if line is None:
            rows += 1
            if rows > skip:
                yield Rejected(f"{shown}:{number}", TOO_LARGE, "is it a list of rows in one line? that is a .json file")
            continue
        line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if not line.strip():
            continue
        rows += 1
        if rows > skip:
            yield _parse(line, f"{shown}:{number}")
    if not rows:
        yield Rejected(shown, NO_ROWS)


def _parse(line: bytes, where: str) -> tuple[str, Any] | Rejected:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        said = AS_UTF16 if b"\0" in line else f"byte {error.start + 1} of the line is 0x{line[error.start]:02x}"
        return Rejected(where, "not UTF-8", said, first_words(line))
    try:
        return where, json.loads(text.rstrip("\r\n"))
    except (ValueError, RecursionError) as error:
        if "\0" in text:
            return Rejected(where, "not UTF-8", AS_UTF16, first_words(text))
        return Rejected(where, "not JSON", AS_LIST if text.strip() == "[" else not_json(error), first_words(text))


def not_json(error: ValueError | RecursionError) -> str:
    """Why a text is not JSON."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return "nested too deeply" if isinstance(error, RecursionError) else "a number with too many digits"


class _Array:
    """A JSON array read value by value, so that only one row and a chunk are in memory."""

    def __init__(self, text: IO[str]):
        self.text = text
        self.buffer, self.at, self.lines, self.ended = "", 0, 1, False

    def fill(self) -> bool:
        """Read on; False at the end."""
        more = self.text.read(CHUNK)
        self.lines += self.buffer.count("\n", 0, self.at)
        self.buffer, self.at = self.buffer[self.at :] + more, 0
        self.ended = not more
        return not self.ended

    def next_letter(self) -> str:
        """The next letter that is no white space, not taken; empty at the end."""
        while True:
            if found := re.compile(r"[^ \t\r\n]").search(self.buffer, self.at):
                self.at = found.start()
                return found[0]
            self.at = len(self.buffer)
            if not self.fill():
                return ""

    def value(self) -> Any:
        """The value that begins here."""
        wanted = CHUNK
        while True:
            try:
                value, end = json.JSONDecoder().raw_decode(self.buffer, self.at)
            except json.JSONDecodeError:
                if len(self.buffer) - self.at > DOCUMENT_BYTES:
                    raise
            else:
                if end < len(self.buffer) or self.ended:  # a number may go on behind the chunk
                    self.at = end
                    return value
            while len(self.buffer) - self.at < wanted and self.fill():
                pass
            if self.ended:
                value, self.at = json.JSONDecoder().raw_decode(self.buffer, self.at)
                return value
            wanted *= 2

    def fault(self, message: str) -> json.JSONDecodeError:
        return json.JSONDecodeError(message, self.buffer, self.at)

    def line_of(self, error: json.JSONDecodeError) -> int:
        """Line of the file, from 1."""
        return self.lines - 1 + error.lineno


def read_json(stream: IO[bytes], shown: str, skip: int) -> Records:
    """A JSON array of rows. A file of that name whose first line is a whole object is read as JSON Lines, as other trainers do."""
    buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream, CHUNK)  # type: ignore[type-var]
    start = buffered.peek(CHUNK)[:CHUNK].removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"{") and _is_lines(start):
        yield from read_lines(buffered, shown, skip)
        return
    with io.TextIOWrapper(buffered, encoding="utf-8-sig", errors="strict", newline="") as text:
        yield from _read_array(_Array(text), shown, skip)


def _read_array(array: _Array, shown: str, skip: int) -> Records:
    try:
        yield from _values(array, shown, skip)
    except UnicodeDecodeError as error:
        yield Rejected(shown, "not UTF-8", f"byte {error.start + 1} of {'the file' if array.lines == 1 and not array.at else 'a part'}", rest_lost=True)
    except (ValueError, RecursionError) as error:
        where = f"{shown}:{array.line_of(error)}" if isinstance(error, json.JSONDecodeError) else shown
        yield Rejected(where, "not JSON", not_json(error), first_words(array.buffer[array.at : array.at + 400]), rest_lost=True)


def _is_lines(start: bytes) -> bool:
    line, end, rest = start.partition(b"\n")
    try:
        return isinstance(json.loads(line), dict) and (not end or not rest.strip() or rest.lstrip().startswith(b"{"))
    except (ValueError, RecursionError):
        return False


def _values(array: _Array, shown: str, skip: int) -> Records:
    if array.next_letter() != "[":
        found = array.value()  # raises for what is no JSON at all
        inside = next((key for key, value in found.items() if isinstance(value, list)), "") if isinstance(found, dict) else ""
        way = f"its list is under the key `{inside}`: write that list alone into the file" if inside else "one row a line belongs into a .jsonl file"
        yield Rejected(shown, "a .json file must hold a list of rows", way, rest_lost=True)
        return
    array.at += 1
    number = 0
    if array.next_letter() == "]":
        array.at += 1
        yield Rejected(shown, NO_ROWS)
    else:
        while True:
            array.next_letter()
            value = array.value()
            number += 1
            if number > skip:
                yield f"{shown}:row {number}", value
            letter = array.next_letter()
            array.at += 1
            if letter == "]":
                break
            if letter != ",":
                array.at -= 1
                raise array.fault("Expecting ',' delimiter")
    if array.next_letter():
        raise array.fault("Extra data")


SEPARATORS = {";": "semicolons", "\t": "tabs", ",": "commas"}


def _read_table(delimiter: str) -> Callable[[IO[bytes], str, int], Records]:
    def read(stream: IO[bytes], shown: str, skip: int) -> Records:
        """A table whose first line names the columns; a cell that begins like a JSON list or object is one."""
        with io.TextIOWrapper(stream, encoding="utf-8-sig", errors="strict", newline="") as text:
            yield from _read_cells(text, delimiter, shown, skip)

    return read


def _read_cells(text: IO[str], delimiter: str, shown: str, skip: int) -> Records:
    csv.field_size_limit(DOCUMENT_BYTES)
    reader = csv.reader(_table_lines(text), delimiter=delimiter, strict=True)
    number = 0
    try:
        names = next(reader, None)
        if names is None or len(set(names)) != len(names):
            yield Rejected(shown, NO_ROWS if names is None else TWICE, rest_lost=names is not None)
            return
        if other := _other_separator(names, delimiter):
            detail = f"the first line has {other} and no {SEPARATORS[delimiter]}: save it with {SEPARATORS[delimiter]}"
            yield Rejected(f"{shown}:1", "columns are separated by something else", detail, first_words(names[0]), rest_lost=True)
            return
        begin = reader.line_num + 1
        for cells in reader:
            where, begin = f"{shown}:{begin}", reader.line_num + 1
            if not cells:
                continue
            number += 1
            if number <= skip:
                continue
            if any("\0" in cell for cell in cells):
                yield Rejected(where, "not UTF-8", AS_UTF16, first_words(delimiter.join(cells)))
            elif len(cells) != len(names):
                yield Rejected(where, "not as many cells as columns", f"{len(cells)} cells, {len(names)} columns", first_words(delimiter.join(cells)))
            else:
                yield where, {name: cell for name, cell in zip(names, cells, strict=True) if cell != ""}
        if not number:
            yield Rejected(shown, NO_ROWS)
    except UnicodeDecodeError as error:
        yield Rejected(f"{shown}:{reader.line_num + 1}", "not UTF-8", f"0x{error.object[error.start]:02x}; save the file as UTF-8", rest_lost=True)
    except csv.Error as error:
        yield Rejected(f"{shown}:{reader.line_num}", "not a table", str(error), rest_lost=True)


def _table_lines(text: IO[str]) -> Iterator[str]:
    for line in bounded_lines(text):
        if line is None:
            raise csv.Error(TOO_LARGE)
        yield line


def _other_separator(names: list[str], delimiter: str) -> str | None:
    """What separates the names of a table in place of its delimiter, as spreadsheets in half of Europe write `;` into a .csv file."""
    if len(names) != 1:
        return None
    return next((called for sign, called in SEPARATORS.items() if sign != delimiter and sign in names[0]), None)


def read_document(stream: IO[bytes], shown: str, skip: int) -> Records:
    """A plain text file: one document."""
    raw = stream.read(DOCUMENT_BYTES + 1)
    if skip:
        return
    if len(raw) > DOCUMENT_BYTES:
        yield Rejected(
            shown, f"a .txt file is one document, and larger than {DOCUMENT_BYTES >> 20} MiB", "write one document a line into a .jsonl file", rest_lost=True
        )
        return
    if b"\0" in raw:
        yield Rejected(shown, "not UTF-8", AS_UTF16, first_words(raw))
        return
    try:
        yield shown, {"text": raw.decode("utf-8-sig")}
    except UnicodeDecodeError as error:
        yield Rejected(shown, "not UTF-8", f"byte {error.start + 1} is 0x{raw[error.start]:02x}", first_words(raw))


READERS: dict[str, Callable[[IO[bytes], str, int], Records]] = {
    ".jsonl": read_lines,
    ".json": read_json,
    ".csv": _read_table(","),
    ".tsv": _read_table("\t"),
    ".txt": read_document,
}
"""By the ending of a name, compression taken off."""
