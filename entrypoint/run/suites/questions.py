"""The kind `questions`: an answer in words beside the expected one."""

from dataclasses import dataclass
from typing import Any

from entrypoint.run.answer_texts import exact_match, refuses, repeats, token_f1
from entrypoint.run.suites.columns import column, group_of, text_of


@dataclass(frozen=True)
class Put:
    """One question as it is put, and what is expected."""

    prompt: str
    expected: str
    group: str = ""
    letters: str = ""
    """Of a question with choices: those that it has."""


def put(row: dict[str, Any], columns: dict[str, str], where: str) -> Put:
    """Raises UsageError for a row that is none."""
    return Put(text_of(row, columns["question"], where), _expected(row, columns["answer"], where), group_of(row, columns, where))


def scores_of(one: Put, text: str, cut: bool) -> dict[str, float]:
    """Of an answer, by metric."""
    return {
        "exact_match": exact_match(text, one.expected), "token_f1": token_f1(text, one.expected), "refusal": float(refuses(text) and not refuses(one.expected)),
        "repetition": float(repeats(text) and not repeats(one.expected)), "unfinished": float(cut),
    }  # fmt: skip


def _expected(row: dict[str, Any], key: str, where: str) -> str:
    value = column(row, key, where)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return text_of(row, key, where)
