"""The formats of rows by name, who takes which kind, and how one is recognised."""

from collections.abc import Callable
from typing import Any, Literal

from entrypoint.run.conversation import Message
from entrypoint.run.conversation_formats import Parts, read_alpaca, read_completion, read_messages, read_prompt, read_sharegpt, read_text
from entrypoint.run.judged_formats import base_of, judged, read_kto, read_preference

Kind = Literal["conversation", "raw", "pair", "labelled", "prompt"]
"""What a row is to a method."""

METHODS: dict[Kind, str] = {
    "conversation": "sft and distil",
    "raw": "pretrain",
    "pair": "dpo, ipo, orpo, simpo, cpo and reward",
    "labelled": "kto",
    "prompt": "grpo, rloo and ppo, which are not built yet",
}
"""Who takes which kind."""

FORMATS: dict[str, Callable[[Message, bool], Parts]] = {
    "messages": read_messages,
    "sharegpt": read_sharegpt,
    "alpaca": read_alpaca,
    "completion": read_completion,
    "text": read_text,
    "preference": read_preference,
    "kto": read_kto,
    "prompt": read_prompt,
}
"""By the name in the spec."""

CONVERSATIONS = {("messages",): "messages", ("conversations",): "sharegpt", ("instruction", "output"): "alpaca"}
"""Formats by the names that `base_of` finds; others are completions."""


def detect(value: Any) -> tuple[str, str] | None:
    """The format of one row and the keys that tell it; None for a row that is none. A row with a judgement is never taken for one without."""
    if not isinstance(value, dict):
        return None
    if found := judged(value):
        name, keys = found
    elif names := base_of(value):
        name, keys = CONVERSATIONS.get(names, "completion"), names
    elif alone := next((key for key in ("text", "prompt") if key in value), None):
        name, keys = alone, (alone,)
    else:
        return None
    return name, ", ".join(f"`{key}`" for key in keys)
