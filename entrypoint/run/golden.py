"""Golden prompts: what the trained, the merged and the served model are compared on."""

from typing import Any

from entrypoint.run.conversation import Message
from entrypoint.run.template import Renderer, TemplateFault

ANSWER_ROOM = 64
"""Tokens that an answer may take at least."""

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city, today.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "Its name."}}, "required": ["city"]},
    },
}
LONG = " ".join(
    f"Cabinet {shelf} in room {room} holds the {thing} of the harbour office, and its key hangs on hook {room * 7 + shelf}."
    for room in range(1, 9)
    for shelf, thing in enumerate(("maps", "logbooks", "letters", "permits", "tide tables", "lamps"), start=1)
)
"""About 1,300 tokens: a prompt whose last words depend on what stands far above them."""

FIXED: tuple[tuple[str, tuple[Message, ...], tuple[Message, ...]], ...] = (
    ("plain", ({"role": "user", "content": "What is the capital of France?"},), ()),
    ("plain", ({"role": "user", "content": "Write one sentence about the sea."},), ()),
    ("system", ({"role": "system", "content": "Answer in one word."}, {"role": "user", "content": "Which colour is a ripe lemon?"}), ()),
    (
        "turns",
        ({"role": "user", "content": "Count to three."}, {"role": "assistant", "content": "One, two, three."}, {"role": "user", "content": "And one more?"}),
        (),
    ),
    ("tools", ({"role": "user", "content": "Do I need an umbrella in Lisbon today?"},), (WEATHER,)),
    ("unicode", ({"role": "user", "content": "Übersetze ins Englische: „Größe“, 東京, ☂️"},), ()),
    ("long", ({"role": "user", "content": f"{LONG}\n\nWhere are the tide tables of room 3?"},), ()),
)
"""Prompts that every run has, by what they exercise, each with the tools that it names."""


def choose_golden(rows: list[list[Any]], renderer: Renderer, positions: int | None = None) -> list[dict[str, Any]]:
    """The fixed prompts and some of the validation rows ([digest, messages, tools]), each with the token ids that serving must see.

    A model without a chat template is asked the texts themselves. Prompts that leave less than ANSWER_ROOM of the model's positions are left out.
    """
    if not renderer.tokenizer.chat_template:
        texts = [(kind, messages, renderer.backend.encode(messages[-1]["content"]).ids) for kind, messages, tools in FIXED if len(messages) == 1 and not tools]
        return _that_fit([{"kind": kind, "messages": list(messages), "prompt_ids": list(ids)} for kind, messages, ids in texts], positions)
    own = [("row", _prompt(tuple(messages)), tuple(tools)) for _, messages, tools in rows]
    found = []
    for kind, messages, tools in (*FIXED, *own):
        if not messages:  # a row that opens with the assistant asks nothing, raw text neither
            continue
        try:
            asked = {"kind": kind, "messages": list(messages), "prompt_ids": renderer.prompt_ids(messages, tools)}
        except TemplateFault:  # a template without a system role or without tools, for one: then serving cannot be asked that either
            continue
        found.append(asked | ({"tools": list(tools)} if tools else {}))
    return _that_fit(found, positions)


def _that_fit(found: list[dict[str, Any]], positions: int | None) -> list[dict[str, Any]]:
    return [asked for asked in found if not positions or len(asked["prompt_ids"]) + ANSWER_ROOM <= positions]


def _prompt(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages up to the last assistant turn."""
    last = max((at for at, m in enumerate(messages) if m["role"] == "assistant"), default=0)
    return tuple({k: v for k, v in m.items() if k != "weight"} for m in messages[:last])
