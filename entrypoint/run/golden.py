"""Golden prompts: what the trained, the merged and the served model are compared on."""

from typing import Any

from entrypoint.run.rows import Row
from entrypoint.run.template import Renderer, TemplateFault

FROM_ROWS = 6
FIXED: tuple[tuple[str, tuple[dict[str, str], ...]], ...] = (
    ("plain", ({"role": "user", "content": "What is the capital of France?"},)),
    ("system", ({"role": "system", "content": "Answer in one word."}, {"role": "user", "content": "Which colour is a ripe lemon?"})),
    (
        "turns",
        ({"role": "user", "content": "Count to three."}, {"role": "assistant", "content": "One, two, three."}, {"role": "user", "content": "And one more?"}),
    ),
    ("unicode", ({"role": "user", "content": "Übersetze ins Englische: „Größe“, 東京, ☂️"},)),
)
"""Prompts that every run has, by what they exercise."""


def choose_golden(rows: list[Row], renderer: Renderer) -> list[dict[str, Any]]:
    """The fixed prompts and some of the validation rows, evenly spread, each with the token ids that serving must see."""
    stride = max(1, len(rows) // FROM_ROWS)
    own = [("row", _prompt(row)) for row in rows[::stride][:FROM_ROWS]]
    found = []
    for kind, messages in (*FIXED, *own):
        if not messages:  # a row that opens with the assistant asks nothing
            continue
        try:
            found.append({"kind": kind, "messages": list(messages), "prompt_ids": renderer.prompt_ids(messages)})
        except TemplateFault:  # a template without a system role, for one: then serving cannot be asked that either
            continue
    return found


def _prompt(row: Row) -> tuple[dict[str, str], ...]:
    """The messages up to the last assistant turn."""
    last = max(at for at, m in enumerate(row.messages) if m["role"] == "assistant")
    return row.messages[:last]
