"""HTML and SVG built from pieces: text is escaped unless it is markup already, so that no answer of a model becomes part of a page."""

from html import escape
from typing import Any

VOID = ("meta", "br", "rect", "line", "circle", "polyline", "path", "col")
"""Elements without content."""


class Markup(str):
    """Text that is HTML already: only `tag`, `join` and constants of this program make it."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Any value as text of a page. What no document may hold, such as NUL, is shown as a sign of its own."""
    if isinstance(value, Markup):
        return value
    printable = "".join(sign if sign in "\n\t" or sign.isprintable() or not _is_control(sign) else "\ufffd" for sign in str(value))
    return Markup(escape(printable, quote=True))


def _is_control(sign: str) -> bool:
    """Control characters, halves of surrogates, and signs that turn the direction of what follows: an answer must not reorder a page."""
    code = ord(sign)
    return code < 0x20 or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000 or 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069 or code in (0xFFFE, 0xFFFF)


def tag(element: str, /, *content: object, **attributes: Any) -> Markup:
    """An element. `class_` is class, `data_label` data-label; an attribute of None is left out, one of True has no value."""
    given = "".join(_attribute(key, value) for key, value in attributes.items() if value is not None and value is not False)
    if element in VOID:
        return Markup(f"<{element}{given}/>" if element != "meta" else f"<{element}{given}>")
    return Markup(f"<{element}{given}>{join(content)}</{element}>")


def join(pieces: Any, between: str = "") -> Markup:
    """Pieces one after the other, text among them escaped."""
    return Markup(between.join(text(piece) for piece in pieces if piece is not None))


def _attribute(key: str, value: Any) -> str:
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{text(value)}"'
