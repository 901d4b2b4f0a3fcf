"""Files of rows -> rows that a method can take, each with its place; what is not one is a rejection with a reason, never dropped in silence."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

from entrypoint.run.conversation import HALF, Message, is_text
from entrypoint.run.formats import FORMATS, Kind, detect
from entrypoint.run.rejection import Fault, Rejected, first_words
from entrypoint.run.row_files import Place, read_files
from entrypoint.run.text_files import AS_LIST, Records

LOOKED_AT = 20
"""Rows at the start of a source by which its format is found."""

JSON_KEYS = ("messages", "conversations", "chosen", "rejected", "rejected_response", "rejected_messages", "history", "tools", "prompt", "completion", "text")
"""Columns of a table whose cells may be JSON: a cell has text only. Only a list or an object counts, so that a text that looks like a number stays one."""


NAMED = "named in the spec"
"""Why a source has its format, where the user says so."""

NEEDED = ("messages", "conversations", "instruction", "output", "prompt", "completion", "text", "chosen", "rejected", "label")
"""Keys without which no row of their format is one."""


@dataclass(frozen=True, slots=True)
class Row:
    """One example."""

    where: str
    """SOURCE:LINE, or SOURCE:row N in files that have no lines."""

    messages: tuple[Message, ...] = ()
    """The whole conversation; of a pair the chosen one, of a prompt the question alone."""

    extra: tuple[str, ...] = ()
    """Keys that are not used, and said so."""

    kind: Kind = "conversation"
    rejected: tuple[Message, ...] = ()
    """Of a pair: the whole conversation with the rejected answer."""

    answer: int = 0
    """Of a pair or a labelled row: the message with which the answer begins."""

    desirable: bool = True
    text: str = ""
    """Raw text; of a prompt the reference answer."""

    tools: tuple[Message, ...] = ()


@dataclass(frozen=True)
class Layout:
    """The format of a source, and why it is taken to be that."""

    format: str
    why: str
    columns: Mapping[str, str]
    """Key that the format wants -> key that the rows have."""


MESSAGES = Layout("messages", "", {})


Reader = Callable[[Path, str, Place | None], Records]
"""Folder, source and place -> rows: those of the files, or what a preprocessor makes of them."""


def find_layout(folder: Path, source: str, format: str, columns: Mapping[str, str], read: Reader = read_files) -> Layout | Rejected:
    """The format that the spec names, or that most of the first rows have."""
    if format != "auto" and not columns:
        return Layout(format, NAMED, columns)
    votes: Counter[tuple[str, str]] = Counter()
    first: Any = None
    rows = 0
    keys_here: dict[str, None] = {}
    for record in islice(read(folder, source, None), LOOKED_AT):
        if isinstance(record, Rejected):
            continue
        rows += 1
        keys_here |= dict.fromkeys(map(str, record[1] if isinstance(record[1], dict) else ()))
        value = _renamed(record[1], columns)
        first = first if rows > 1 else record[1]
        if found := detect(value):
            votes[found] += 1
    if rows and (wrong := _mistyped(columns, list(keys_here))):
        return Rejected(source, "`columns` names a key that these rows do not have", wrong, first_words(_shown(first)))
    if format != "auto":
        return Layout(format, NAMED, columns)
    if votes:
        (name, keys), count = votes.most_common(1)[0]
        return Layout(name, f"{count} of the first {rows} rows have {keys}" if rows > 1 else f"the row has {keys}", columns)
    if not rows:
        return Layout("messages", "no row can be read", columns)
    if rows == 1 and (inside := _holding_rows(first)):
        return Rejected(source, "the rows lie under a key", f"`{inside}` is a list of rows: write that list alone to the file", first_words(_shown(first)))
    keys = f"the keys {', '.join(map(str, list(first)[:6])) or 'none'}" if isinstance(first, dict) else type(first).__name__
    example = (
        f": `format: completion` and `columns: {{prompt: {names[0]}, completion: {names[-1]}}}`, say"
        if (names := _names(first))
        else " and map its names with `columns`"
    )
    return Rejected(source, "no known format", f"the first row has {keys}; name the format{example}", first_words(_shown(first)))


def _mistyped(columns: Mapping[str, str], keys: list[str]) -> str:
    """Names in `columns` that none of the first rows has, each with the key that was meant; empty where all are there.

    One that is like none of the keys may be of a field that few rows have, as `system`: rows that need it are rejected by themselves.
    """
    found = []
    for ours, theirs in columns.items():
        if theirs in keys:
            continue
        free = [key for key in keys if key not in columns.values()]
        near = get_close_matches(theirs, free, n=1, cutoff=0.7)
        if near or ours in NEEDED:
            found.append(f"{ours}: {theirs}{f' (`{near[0]}` is meant?)' if near else ''}")
    return f"{', '.join(found)}; keys here: {', '.join(sorted(keys, key=lambda key: not get_close_matches(key, columns.values(), n=1))[:12])}" if found else ""


def _holding_rows(row: Any) -> str:
    """The key of a file that is one object around its rows, {"data": [...]} say; empty for others."""
    return next((k for k, v in row.items() if isinstance(v, list) and v and detect(v[0])), "") if isinstance(row, dict) else ""


def _names(row: Any) -> list[str]:
    """Keys that YAML takes as they stand, of a row that has two of them or more."""
    plain = [key for key in row if isinstance(key, str) and key.isidentifier()] if isinstance(row, dict) else []
    return plain if len(plain) > 1 else []


def read_rows(
    folder: Path, source: str, format: str = "auto", columns: Mapping[str, str] | None = None, *, weights: bool = False, place: Place | None = None
) -> Iterator[Row | Rejected]:
    """Every row of a fetched source, file after file in name order; `place` is where to begin, and is moved along."""
    layout = find_layout(folder, source, format, columns or {})
    if isinstance(layout, Rejected):
        layout = Layout("messages", "", columns or {})
    yield from rows_of(folder, source, layout, weights=weights, place=place)


def rows_of(
    folder: Path, source: str, layout: Layout, *, weights: bool = False, place: Place | None = None, read: Reader = read_files
) -> Iterator[Row | Rejected]:
    """As `read_rows`, with a layout that is known."""
    for record in read(folder, source, place):
        if isinstance(record, Rejected):
            yield record
        else:
            where, value = record
            yield check(value, where, layout, weights)


def check(value: Any, where: str, layout: Layout = MESSAGES, weights: bool = False) -> Row | Rejected:
    """One row, or why it is none."""
    if not isinstance(value, dict):
        listed = isinstance(value, list) and bool(value) and isinstance(value[0], dict)
        return Rejected(where, "a row must be an object", AS_LIST if listed else "", first_words(_shown(value)))
    if not all(map(is_text, value)):
        return Rejected(where, HALF, "in a key", first_words(_shown(value)))
    try:
        return Row(where, **FORMATS[layout.format](_renamed(value, layout.columns), weights))
    except Fault as fault:
        other = detect(value)
        detail = fault.detail
        if other and other[0] != layout.format and fault.reason.startswith("no "):
            detail = f"{detail + '; ' if detail else ''}it looks like {other[0]}, its source is {layout.format}"
        return Rejected(where, fault.reason, detail, first_words(_shown(value)))
    except RecursionError:
        return Rejected(where, "nested too deeply")


def _renamed(value: Any, columns: Mapping[str, str]) -> Any:
    """Keys as the format wants them, cells of a table opened."""
    if not isinstance(value, dict):
        return value
    if columns:
        taken = set(columns.values())
        value = {k: v for k, v in value.items() if k not in taken} | {ours: value[theirs] for ours, theirs in columns.items() if theirs in value}
    for key in JSON_KEYS:
        cell = value.get(key)
        if isinstance(cell, str) and cell[:2] in ("[{", "[["):
            opened = _opened(cell)
            if opened is not None:
                value = {**value, key: opened}
    return value


def _opened(cell: str) -> list[Any] | None:
    try:
        found = json.loads(cell)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) and all(isinstance(v, dict | list) for v in found) else None


def _shown(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=str)[:400]
    except (ValueError, RecursionError):
        return type(value).__name__
