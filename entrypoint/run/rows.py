"""Files of rows -> conversations, each with its place; what is not one is a rejection with a reason, never dropped in silence."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROLES = ("system", "user", "assistant")
SUFFIXES = (".jsonl", ".json")
HALF = "half of a surrogate pair"
"""JSON can write one (`\\ud83d` alone); no tokenizer takes it and no file can hold it."""


@dataclass(frozen=True)
class Row:
    """One conversation."""

    where: str
    """SOURCE:LINE, or SOURCE:row N in a .json array."""

    messages: tuple[dict[str, str], ...]
    extra: tuple[str, ...] = ()
    """Keys beside `messages`; not used, and said so."""


@dataclass(frozen=True)
class Rejected:
    """One row that cannot be used."""

    where: str
    reason: str
    """The kind of fault, the same words for the same fault."""

    detail: str = ""


def read_rows(folder: Path, source: str) -> Iterator[Row | Rejected]:
    """Every row of a fetched source, file after file in name order."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    for path in files:
        shown = source if len(files) == 1 else f"{source.rstrip('/')}/{path.relative_to(folder).as_posix()}"
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES:
            yield Rejected(shown, f"not a {' or '.join(SUFFIXES)} file")
        elif suffix == ".json":
            yield from _read_array(path, shown)
        else:
            yield from _read_lines(path, shown)


def _read_lines(path: Path, shown: str) -> Iterator[Row | Rejected]:
    empty = True
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            where = f"{shown}:{number}"
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if not line.strip():
                continue
            empty = False
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                yield Rejected(where, "not UTF-8", f"byte {error.start + 1} of the line is 0x{line[error.start]:02x}")
                continue
            yield from _parse(text.rstrip("\r\n"), where)
    if empty:
        yield Rejected(shown, "the file holds no rows")


def _parse(text: str, where: str) -> Iterator[Row | Rejected]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        yield _not_json(error, where)
    else:
        yield check(value, where)


def _not_json(error: ValueError | RecursionError, where: str) -> Rejected:
    if isinstance(error, json.JSONDecodeError):
        return Rejected(where, "not JSON", f"{error.msg} at column {error.colno}")
    return Rejected(where, "not JSON", "nested too deeply" if isinstance(error, RecursionError) else "a number with too many digits")


def _read_array(path: Path, shown: str) -> Iterator[Row | Rejected]:
    try:
        values = json.loads(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        yield Rejected(shown, "not UTF-8", f"byte {error.start + 1}")
        return
    except (ValueError, RecursionError) as error:
        yield _not_json(error, f"{shown}:{error.lineno}" if isinstance(error, json.JSONDecodeError) else shown)
        return
    if not isinstance(values, list):
        yield Rejected(shown, "a .json file must hold a list of rows", "one row a line belongs into a .jsonl file")
        return
    if not values:
        yield Rejected(shown, "the file holds no rows")
    for number, value in enumerate(values, start=1):
        yield check(value, f"{shown}:row {number}")


def check(value: Any, where: str) -> Row | Rejected:
    """A row in the form {"messages": [{"role": ..., "content": ...}, ...]}, or why it is not."""
    if not isinstance(value, dict):
        return Rejected(where, "a row must be an object")
    if not all(map(_is_text, value)):
        return Rejected(where, HALF, "in a key")
    messages = value.get("messages")
    if not isinstance(messages, list):
        return Rejected(where, "no `messages` list", f"keys here: {', '.join(map(str, list(value)[:6])) or 'none'}")
    if not messages:
        return Rejected(where, "`messages` is empty")
    kept: list[dict[str, str]] = []
    for at, message in enumerate(messages):
        fault = _fault(message, at)
        if fault:
            return Rejected(where, *fault)
        kept.append({"role": message["role"], "content": message["content"]})
    if not any(m["role"] == "assistant" for m in kept):
        return Rejected(where, "no assistant turn")
    return Row(where, tuple(kept), tuple(k for k in value if k != "messages"))


def _fault(message: Any, at: int) -> tuple[str, str] | None:
    place = f"message {at + 1}"
    if not isinstance(message, dict):
        return "a message must be an object", place
    role, content = message.get("role"), message.get("content")
    if "tool_calls" in message or role == "tool" or role == "function":
        return "tool calls are not built yet in this version", place
    if role not in ROLES:
        return f"a role other than {', '.join(ROLES)}", f"{place} has {role!r}"
    if role == "system" and at:
        return "a system message after the first place", place
    if not isinstance(content, str):
        return "content must be text", f"{place} has {type(content).__name__}"
    if not all(map(_is_text, (content, *message))):
        return HALF, place
    if role == "assistant" and not content.strip():
        return "an empty assistant turn", place
    extra = [k for k in message if k not in ("role", "content", "name")]
    if extra:
        return "a message with unknown keys", f"{place} has {', '.join(map(str, extra[:4]))}"
    return None


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
