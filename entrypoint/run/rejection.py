"""What is said of a row that cannot be used."""

from dataclasses import dataclass, field
from typing import Any

WORDS = 60
"""Characters of a row that are shown of it."""


@dataclass(frozen=True)
class Rejected:
    """One row that cannot be used."""

    where: str
    reason: str
    """The kind of fault, the same words for the same fault."""

    detail: str = ""
    words: str = field(default="", compare=False)
    """How the row begins, on one line."""

    rest_lost: bool = False
    """The file breaks off here: how many rows are behind this place is not known, so no share of bad rows excuses it."""


class Fault(Exception):
    """Raised by whoever reads a row: the reason and the detail of its rejection."""

    def __init__(self, reason: str, detail: str = ""):
        self.reason, self.detail = reason, detail
        super().__init__(reason)


def first_words(value: Any) -> str:
    """How a row begins, on one line that a terminal takes."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    shown = " ".join(text[: 4 * WORDS].split())
    shown = "".join(c if c.isprintable() else "?" for c in shown)
    return shown if len(shown) <= WORDS and len(text) <= 4 * WORDS else shown[: WORDS - 3] + "..."
