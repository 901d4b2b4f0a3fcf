"""What the tuned model answers to the golden prompts, as it was trained: every later gate compares with this file."""

import json
from pathlib import Path
from typing import Any

from entrypoint.run.greedy import Answer, answer

FILE_NAME = "golden_answers.json"
"""In every folder that is served: a list of the prompts of golden.json, each with `answer_ids`, and of each of its tokens `logprobs` and `margins`
(the lead over the runner-up), both in nats, and `ended`: whether the last token is one on which serving stops."""

DIGITS = 6


def ask(model: Any, golden: list[dict[str, Any]], tokens: int) -> list[Answer]:
    """The greedy answers of a model."""
    return [answer(model, asked["prompt_ids"], tokens) for asked in golden]


def write_answers(folder: Path, golden: list[dict[str, Any]], answers: list[Answer]) -> None:
    """Write FILE_NAME."""
    rows = [
        {**asked, "answer_ids": given.ids, "logprobs": _short(given.logprobs), "margins": _short(given.margins), "ended": given.ended}
        for asked, given in zip(golden, answers, strict=True)
    ]
    (folder / FILE_NAME).write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_answers(folder: Path) -> tuple[list[dict[str, Any]], list[Answer]]:
    """The prompts and the answers that `write_answers` wrote."""
    rows = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
    own = {"answer_ids", "logprobs", "margins", "ended"}
    golden = [{key: value for key, value in row.items() if key not in own} for row in rows]
    return golden, [Answer(row["answer_ids"], row["logprobs"], row["margins"], row["ended"]) for row in rows]


def _short(values: list[float]) -> list[float]:
    return [round(value, DIGITS) for value in values]
