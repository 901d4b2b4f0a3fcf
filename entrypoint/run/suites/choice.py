"""The kind `choice`: the letter that a model answers. Not the likeliest choice by log-probability: users get answers, not probabilities, and any endpoint has them."""

import re
import string
from typing import Any

from entrypoint.run.suites.columns import column, group_of, text_of
from entrypoint.run.suites.questions import Put
from schemas.errors import UsageError

WISH = "Answer with the letter of the right choice only."
FIRST = re.compile(r"^[\s*_`(\[\"']*([A-Za-z])(?![A-Za-z'’])")
"""An answer that begins with a letter alone, whatever stands around it."""

NAMED = re.compile(r"(?:answer|choice|option|答案|选项?)(?:\s+(?:is|should be|would be)|\s*[:：是为])*[\s*_`(\[\"'（]*([A-Za-z])(?![A-Za-z'’])", re.IGNORECASE)


def put(row: dict[str, Any], columns: dict[str, str], where: str) -> Put:
    """Raises UsageError for a row that is none."""
    key = columns["choices"]
    choices = column(row, key, where)
    if not isinstance(choices, list) or not 2 <= len(choices) <= 26 or not all(isinstance(choice, str) and choice.strip() for choice in choices):
        raise UsageError(f"{where}: `{key}` must be a list of 2 to 26 texts", "correct the row, or name another key under `columns` of the suite")
    letters = string.ascii_uppercase[: len(choices)]
    listed = "\n".join(f"{letter}. {choice}" for letter, choice in zip(letters, choices, strict=True))
    expected = _letter(column(row, columns["answer"], where), letters, columns["answer"], where)
    return Put(f"{text_of(row, columns['question'], where)}\n\n{listed}\n\n{WISH}", expected, group_of(row, columns, where), letters)


def scores_of(one: Put, text: str, cut: bool) -> dict[str, float]:
    """Of an answer, by metric. An answer without a letter is wrong, and counted as unreadable."""
    letter = letter_in(text, one.letters)
    return {"accuracy": float(letter == one.expected), "unreadable": float(letter is None), "unfinished": float(cut)}


def letter_in(text: str, letters: str) -> str | None:
    """The letter that an answer begins with, alone, or else the last that it names as the answer; None where there is none of the letters."""
    named = [found[1] for found in NAMED.finditer(text)]
    first = FIRST.match(text)
    if first and _is_article(first, text, letters):
        first = None
    letter = (first[1] if first else named[-1] if named else "").upper()
    return letter if letter and letter in letters else None


def _is_article(found: re.Match[str], text: str, letters: str) -> bool:
    """`A dog` and `I think` begin with a word, not with a letter."""
    behind = text[found.end() :]
    return found[1] in "AIai" and bool(re.match(r"[ \t]+[a-z]", behind))


def _letter(value: Any, letters: str, key: str, where: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(letters):
        return letters[value]
    if isinstance(value, str) and len(value.strip()) == 1 and value.strip().upper() in letters:
        return value.strip().upper()
    raise UsageError(
        f"{where}: `{key}` is {str(value)[:40]!r}, its choices are {letters[0]} to {letters[-1]}", f"write a letter, or a place from 0 to {len(letters) - 1}"
    )
