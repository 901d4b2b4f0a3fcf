"""Values of a suite's rows by their keys; a wrong one is an error with its place, never a question left out: a score is of all of them."""

import difflib
from typing import Any

from schemas.errors import UsageError


def column(row: dict[str, Any], key: str, where: str) -> Any:
    """The value, which may be anything. Raises UsageError with the nearest key of the row."""
    if key in row:
        return row[key]
    close = difflib.get_close_matches(key, row, 1, 0.5)
    fix = f"did you mean `{close[0]}`? " if close else ""
    raise UsageError(f"{where}: has no `{key}`, it has {', '.join(f'`{name}`' for name in row) or 'no key'}", f"{fix}name the key under `columns` of the suite")


def text_of(row: dict[str, Any], key: str, where: str) -> str:
    """A text that says something."""
    value = column(row, key, where)
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{where}: `{key}` must be a text, not {_shown(value)}", "correct the row, or name another key under `columns` of the suite")
    return value


def group_of(row: dict[str, Any], columns: dict[str, str], where: str) -> str:
    """The part of the suite; empty where the rows name none and none is wished for."""
    key = columns["group"]
    return text_of(row, key, where)[:200] if key in row or key != "group" else ""


def _shown(value: Any) -> str:
    return "an empty one" if isinstance(value, str) else {list: "a list", dict: "an object", type(None): "null"}.get(type(value), repr(value)[:40])
