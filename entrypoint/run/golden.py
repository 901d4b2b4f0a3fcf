"""Golden prompts: what the trained, the merged and the served model are compared on."""

from typing import Any

from entrypoint.run.conversation import Message
from entrypoint.run.template import Renderer, TemplateFault

FIXED: tuple[tuple[str, tuple[Message, ...]], ...] = (
    ("plain", ({"role": "user", "content": "What is the capital of France?"},)),
    ("system", ({"role": "system", "content": "Answer in one word."}, {"role": "user", "content": "Which colour is a ripe lemon?"})),
    (
        "turns",
        ({"role": "user", "content": "Count to three."}, {"role": "assistant", "content": "One, two, three."}, {"role": "user", "content": "And one more?"}),
    ),
    ("unicode", ({"role": "user", "content": "Übersetze ins Englische: „Größe“, 東京, ☂️"},)),
)
"""Prompts that every run has, by what they exercise."""


def choose_golden(rows: list[list[Any]], renderer: Renderer) -> list[dict[str, Any]]:
    """The fixed prompts and some of the validation rows ([digest, messages, tools]), each with the token ids that serving must see.

    A model without a chat template is asked the texts themselves.
    """
    if not renderer.tokenizer.chat_template:
        prompts = [(kind, messages, renderer.backend.encode(messages[-1]["content"]).ids) for kind, messages in FIXED if len(messages) == 1]
        return [{"kind": kind, "messages": list(messages), "prompt_ids": list(ids)} for kind, messages, ids in prompts]
    own = [("row", _prompt(tuple(messages)), tuple(tools)) for _, messages, tools in rows]
    found = []
    for kind, messages, tools in (*((kind, messages, ()) for kind, messages in FIXED), *own):
        if not messages:  # a row that opens with the assistant asks nothing, raw text neither
            continue
        try:
            asked = {"kind": kind, "messages": list(messages), "prompt_ids": renderer.prompt_ids(messages, tools)}
        except TemplateFault:  # a template without a system role, for one: then serving cannot be asked that either
            continue
        found.append(asked | ({"tools": list(tools)} if tools else {}))
    return found


def _prompt(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages up to the last assistant turn."""
    last = max((at for at, m in enumerate(messages) if m["role"] == "assistant"), default=0)
    return tuple({k: v for k, v in m.items() if k != "weight"} for m in messages[:last])
