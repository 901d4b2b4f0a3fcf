"""Formats of rows whose answers are judged: pairs of a better and a worse one, and single ones with a label. Raises Fault for a row that is not of it."""

from typing import Any

from entrypoint.run.conversation import Message, check_messages, check_tools
from entrypoint.run.conversation_formats import (
    ALPACA_KEYS,
    COMPLETIONS,
    SYSTEM_KEYS,
    Parts,
    answer_of,
    others,
    prompt_of,
    question_of,
    read_alpaca,
    read_completion,
    read_messages,
    read_sharegpt,
    system_of,
    turns_of,
)
from entrypoint.run.rejection import Fault

LABELS = ("label", "desirable", "kto_tag")
WORSE = ("rejected_response", "rejected_messages", "rejected")
"""Names of the worse answer beside a whole conversation, as ms-swift has it."""

PROMPTS = ("prompt", "question", "query", "instruction", "messages", "conversations")
"""Names of the question of `chosen` and `rejected`."""

BASES = (("messages",), ("conversations",), ("instruction", "output"), *COMPLETIONS)
"""Names by which a row is known to hold a conversation, in the order in which they are looked for."""


def base_of(value: Message) -> tuple[str, ...] | None:
    """The names of the conversation that a row holds."""
    return next((names for names in BASES if all(name in value for name in names)), None)


def worse_of(value: Message) -> str | None:
    """The name under which a row has a worse answer beside its conversation; a flag of such a name is none."""
    return next((name for name in WORSE if isinstance(value.get(name), str | list | dict)), None)


def label_of(value: Message) -> str | None:
    """The name under which a row has a label that is true or false."""
    return next((name for name in LABELS if name in value and _label(value[name]) is not None), None)


def _label(label: Any) -> bool | None:
    if isinstance(label, str) and label.strip().lower() in ("true", "false", "1", "0"):  # a table has texts only
        return label.strip().lower() in ("true", "1")
    return bool(label) if label in (True, False) else None


def _conversation(value: Message) -> Parts:
    """The conversation that a row holds, in any of the formats."""
    names = base_of(value)
    readers = {("messages",): read_messages, ("conversations",): read_sharegpt, ("instruction", "output"): read_alpaca}
    return (readers.get(names, read_completion) if names else read_completion)(value, False)


def read_preference(value: Message, weights: bool) -> Parts:
    """{"prompt": ..., "chosen": ..., "rejected": ...}, also with alpaca's or sharegpt's names; without a prompt, lists of messages that begin alike; or a
    conversation and the worse answer in the place of its last turn."""
    if "chosen" in value or worse_of(value) is None:
        chosen, rejected, extra = _two_answers(value)
    else:
        chosen, rejected, extra = _other_answer(value, worse_of(value) or "")
    if chosen == rejected:
        raise Fault("chosen and rejected are the same")
    start = next((at for at, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b), min(len(chosen), len(rejected)))
    if start >= min(len(chosen), len(rejected)) or any(side[start]["role"] != "assistant" or side[-1]["role"] != "assistant" for side in (chosen, rejected)):
        raise Fault("chosen and rejected are not answers to the same question", f"they part at message {start + 1}")
    if not start:
        raise Fault("no question", "chosen and rejected begin with the answer")
    return {"kind": "pair", "messages": chosen, "rejected": rejected, "answer": start, "tools": check_tools(value.get("tools")), "extra": extra}


def _two_answers(value: Message) -> tuple[tuple[Message, ...], tuple[Message, ...], tuple[str, ...]]:
    """Both under their names, and the keys that are not used."""
    whole = all(_is_whole(value.get(side)) for side in ("chosen", "rejected"))
    names = PROMPTS[:4] if whole else PROMPTS  # UltraFeedback's `messages` are its chosen conversation
    key = next((k for k in names if value.get(k) not in (None, "", [])), None)
    if key is None and not whole and not (isinstance(value.get("chosen"), list) and isinstance(value.get("rejected"), list)):
        raise Fault("no question", "`chosen` and `rejected` as text need a `prompt`")
    used = ("chosen", "rejected", "tools", *SYSTEM_KEYS, *(ALPACA_KEYS if key == "instruction" else (key,)))
    return _side(value, "chosen", key), _side(value, "rejected", key), others(value, used)


def _is_whole(side: Any) -> bool:
    """Whether an answer is a conversation from its question on."""
    return isinstance(side, list) and bool(turns := turns_of(side)) and isinstance(turns[0], dict) and turns[0].get("role") in ("system", "user")


def _side(value: Message, side: str, key: str | None) -> tuple[Message, ...]:
    """A whole conversation. A list that begins with the prompt repeats it, as in UltraFeedback."""
    given = value.get(side)
    if key is None:
        return check_messages(turns_of(given), key=side)
    before = check_messages([*system_of(value), *question_of(value)]) if key == "instruction" else prompt_of(value, key, False)
    if isinstance(given, list):
        whole = check_messages(turns_of(given), key=side)
        if whole[: len(before)] == before:
            return whole
    return (*before, *answer_of(value, side, False))


def _other_answer(value: Message, worse: str) -> tuple[tuple[Message, ...], tuple[Message, ...], tuple[str, ...]]:
    """A conversation whose last turn is the better answer, and the worse one."""
    parts = _conversation({k: v for k, v in value.items() if k != worse})
    chosen: tuple[Message, ...] = parts["messages"]
    given = value[worse]
    if not _is_whole(given):
        return chosen, (*chosen[:-1], *answer_of(value, worse, False)), parts["extra"]
    rejected = check_messages(turns_of(given), key=worse)
    if chosen[0]["role"] == "system" != rejected[0]["role"]:
        rejected = (chosen[0], *rejected)
    return chosen, rejected, parts["extra"]


def read_kto(value: Message, weights: bool) -> Parts:
    """A conversation of any format and `label`: {"prompt": ..., "completion": ..., "label": true}."""
    key = label_of(value)
    if key is None:
        given = next((value[k] for k in LABELS if k in value), None)
        raise Fault("no label that is true or false", f"it is {given!r}"[:60])
    parts = _conversation({k: v for k, v in value.items() if k not in LABELS})
    messages = parts["messages"]
    if messages[-1]["role"] != "assistant" or len(messages) < 2:
        raise Fault("no answer after a question", "the last message must be the assistant's")
    return {**parts, "kind": "labelled", "desirable": _label(value[key]), "answer": len(messages) - 1}


def judged(value: Message) -> tuple[str, tuple[str, ...]] | None:
    """preference or kto with the names that tell it: rows whose answers must not be learned as if all were good. None for any other row."""
    if "chosen" in value and "rejected" in value:
        return "preference", ("chosen", "rejected")
    names = base_of(value)
    if names is None:
        return None
    if worse := worse_of(value):
        return "preference", (*names, worse)
    if label := label_of(value):
        return "kto", (label, *names)
    if "label" in value and names in (("messages",), ("prompt", "completion"), ("prompt", "response")):
        return "kto", ("label", *names)
    return None
