"""The formats in which rows come, each as a function from one row's value to what is trained on; raises Fault for a row that is not of it."""

import json
from collections.abc import Callable
from typing import Any, Literal

from entrypoint.run.conversation import HALF, Message, check_messages, check_tools, is_text
from entrypoint.run.rejection import Fault

Kind = Literal["conversation", "raw", "pair", "labelled", "prompt"]
"""What a row is to a method."""

Parts = dict[str, Any]
"""Fields of a Row beside its place."""

METHODS: dict[Kind, str] = {
    "conversation": "sft and distil",
    "raw": "pretrain",
    "pair": "dpo, ipo, orpo, simpo, cpo and reward",
    "labelled": "kto",
    "prompt": "grpo, rloo and ppo, which are not built yet",
}
"""Who takes which kind."""

COMPLETIONS = (
    ("prompt", "completion"), ("prompt", "response"), ("question", "answer"), ("query", "response"), ("question", "response"),
    ("problem", "solution"), ("instruction", "response"), ("input", "output"), ("prompt", "answer"), ("source", "target"),
)  # fmt: skip
"""Names of a question and its answer, the first that a row has."""

REFERENCES = ("reference", "reference_answer", "ground_truth", "solution", "target")
LABELS = ("label", "desirable")
SHAREGPT_ROLES = {
    "human": "user", "user": "user", "prompter": "user", "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant", "bot": "assistant",
    "model": "assistant", "bard": "assistant", "bing": "assistant", "system": "system", "observation": "tool", "tool": "tool", "tool_response": "tool",
    "function_response": "tool", "function_call": "call", "tool_call": "call",
}  # fmt: skip
"""Words for roles in `from`; `call` is an assistant turn that calls a tool."""

SYSTEM_KEYS = ("system", "system_prompt")


def read_messages(value: Message, weights: bool) -> Parts:
    """{"messages": [{"role": ..., "content": ...}]}, and `tools`."""
    if not isinstance(value.get("messages"), list):
        raise Fault("no `messages` list", f"keys here: {', '.join(map(str, list(value)[:6])) or 'none'}")
    return _conversation(check_messages(value["messages"], weights=weights), value, ("messages", "tools"))


def _conversation(messages: tuple[Message, ...], value: Message, used: tuple[str, ...]) -> Parts:
    if not any(m["role"] == "assistant" for m in messages):
        raise Fault("no assistant turn")
    return {"kind": "conversation", "messages": messages, "tools": check_tools(value.get("tools")), "extra": _others(value, used)}


def _others(value: Message, used: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(k for k in value if k not in used)


def read_sharegpt(value: Message, weights: bool) -> Parts:
    """{"conversations": [{"from": "human", "value": ...}]}, `system` and `tools`."""
    turns = value.get("conversations")
    if not isinstance(turns, list):
        raise Fault("no `conversations` list", f"keys here: {', '.join(map(str, list(value)[:6])) or 'none'}")
    messages = [_turn(turn, f"message {at}") for at, turn in enumerate(turns, start=1)]
    system = _system(value)
    if system and messages and messages[0]["role"] == "system":
        raise Fault("two system messages", f"`{SYSTEM_KEYS[0]}` and message 1")
    checked = check_messages([*system, *messages], weights=weights, key="conversations")
    return _conversation(checked, value, ("conversations", "tools", *SYSTEM_KEYS))


def _turn(turn: Any, place: str) -> Message:
    if not isinstance(turn, dict):
        raise Fault("a message must be an object", place)
    if "role" in turn and "from" not in turn:  # messages under the other name
        return turn
    word, text = turn.get("from"), turn.get("value")
    role = SHAREGPT_ROLES.get(word) if isinstance(word, str) else None
    if role is None:
        raise Fault("`from` is none of the known roles", f"{place} has {word!r}; known: {', '.join(SHAREGPT_ROLES)}")
    others = {k: v for k, v in turn.items() if k not in ("from", "value")}
    if role != "call":
        return {**others, "role": role, "content": text}
    try:
        calls = json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        raise Fault("the arguments of a tool call are not JSON", place) from None
    return {**others, "role": "assistant", "content": "", "tool_calls": calls if isinstance(calls, list) else [calls]}


def _system(value: Message) -> list[Message]:
    found = next((value[k] for k in SYSTEM_KEYS if value.get(k)), None)
    return [{"role": "system", "content": found}] if found else []


def read_alpaca(value: Message, weights: bool) -> Parts:
    """{"instruction": ..., "input": ..., "output": ...}, `system` and `history`, a list of [question, answer]."""
    turns: list[Message] = []
    history = value.get("history") or []
    if not isinstance(history, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in history):
        raise Fault("`history` must be a list of [question, answer]")
    for question, answer in history:
        turns += _exchange(question, answer, "history")
    # The question is instruction and input, a line each, as in the other trainers that read this format.
    parts = [part for key in ("instruction", "input") if (part := value.get(key)) not in (None, "")]
    if not all(isinstance(part, str) for part in parts):
        raise Fault("`instruction` and `input` must be text")
    turns += _exchange("\n".join(parts), value.get("output"), "output")
    return _conversation(check_messages([*_system(value), *turns]), value, ("instruction", "input", "output", "history", "tools", *SYSTEM_KEYS))


def _exchange(question: Any, answer: Any, key: str) -> list[Message]:
    if not isinstance(question, str) or not question.strip():
        raise Fault("no question", f"it is {type(question).__name__}" if not isinstance(question, str) else "it is empty")
    if not isinstance(answer, str) or not answer.strip():
        raise Fault("no answer", f"`{key}` is {'empty' if isinstance(answer, str) else type(answer).__name__}")
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def read_completion(value: Message, weights: bool) -> Parts:
    """{"prompt": ..., "completion": ...} or other names of a question and its answer: texts, or lists of messages."""
    names = _pair_of_names(value)
    if names is None:
        raise Fault("no question with its answer", f"keys here: {', '.join(map(str, list(value)[:6])) or 'none'}")
    question, answer = names
    return _conversation((*_prompt(value, question, weights), *_answer(value, answer, weights)), value, (*names, "tools", *SYSTEM_KEYS))


def _pair_of_names(value: Message) -> tuple[str, str] | None:
    return next((pair for pair in COMPLETIONS if pair[0] in value and pair[1] in value), None)


def _prompt(value: Message, key: str, weights: bool) -> tuple[Message, ...]:
    prompt = value.get(key)
    if isinstance(prompt, list):
        return check_messages([*_system(value), *prompt], weights=weights, key=key)
    if not isinstance(prompt, str) or not prompt.strip():
        raise Fault("no question", f"`{key}` is {'empty' if isinstance(prompt, str) else type(prompt).__name__}")
    return check_messages([*_system(value), {"role": "user", "content": prompt}])


def _answer(value: Message, key: str, weights: bool) -> tuple[Message, ...]:
    """One assistant turn of a text; a list may hold several messages."""
    answer = value.get(key)
    if isinstance(answer, dict):
        answer = [answer]
    if isinstance(answer, list):
        found = check_messages(answer, weights=weights, key=key)
        if found[0]["role"] != "assistant":
            raise Fault("an answer that does not begin with the assistant", f"`{key}`")
        return found
    if not isinstance(answer, str) or not answer.strip():
        raise Fault("no answer", f"`{key}` is {'empty' if isinstance(answer, str) else type(answer).__name__}")
    return check_messages([{"role": "assistant", "content": answer}])


def read_text(value: Message, weights: bool) -> Parts:
    """{"text": ...}: raw text, no template."""
    text = value.get("text")
    if not isinstance(text, str):
        raise Fault("no `text`", f"keys here: {', '.join(map(str, list(value)[:6])) or 'none'}" if text is None else f"it is {type(text).__name__}")
    if not text.strip():
        raise Fault("`text` is empty")
    if not is_text(text):
        raise Fault(HALF)
    return {"kind": "raw", "text": text, "extra": _others(value, ("text",))}


def read_preference(value: Message, weights: bool) -> Parts:
    """{"prompt": ..., "chosen": ..., "rejected": ...}; without a prompt, lists of messages that begin alike, or `messages` and `rejected_response`."""
    used = ("prompt", "question", "chosen", "rejected", "messages", "rejected_response", "tools", *SYSTEM_KEYS)
    if "rejected_response" in value:
        chosen = check_messages(value.get("messages"))
        rejected = (*chosen[:-1], *_answer(value, "rejected_response", False))
    else:
        key = next((k for k in ("prompt", "question") if value.get(k) not in (None, "", [])), None)
        if key is None and not (isinstance(value.get("chosen"), list) and isinstance(value.get("rejected"), list)):
            raise Fault("no question", "`chosen` and `rejected` as text need a `prompt`")
        chosen, rejected = (_side(value, side, key) for side in ("chosen", "rejected"))
    if chosen == rejected:
        raise Fault("chosen and rejected are the same")
    start = next((at for at, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b), min(len(chosen), len(rejected)))
    if start >= min(len(chosen), len(rejected)) or any(side[start]["role"] != "assistant" or side[-1]["role"] != "assistant" for side in (chosen, rejected)):
        raise Fault("chosen and rejected are not answers to the same question", f"they part at message {start + 1}")
    if not start:
        raise Fault("no question", "chosen and rejected begin with the answer")
    parts = {"kind": "pair", "messages": chosen, "rejected": rejected, "answer": start}
    return {**parts, "tools": check_tools(value.get("tools")), "extra": _others(value, used)}


def _side(value: Message, side: str, prompt: str | None) -> tuple[Message, ...]:
    """A whole conversation. A list that begins with the prompt repeats it, as in UltraFeedback."""
    given = value.get(side)
    if prompt is None:
        return check_messages(given, key=side)
    before = _prompt(value, prompt, False)
    if isinstance(given, list):
        whole = check_messages(given, key=side)
        if whole[: len(before)] == before:
            return whole
    return (*before, *_answer(value, side, False))


def read_kto(value: Message, weights: bool) -> Parts:
    """{"prompt": ..., "completion": ..., "label": true}, or `messages` and `label`."""
    key = next((k for k in LABELS if k in value), None)
    label = value.get(key) if key else None
    if isinstance(label, str) and label.strip().lower() in ("true", "false", "1", "0"):  # a table has texts only
        label = label.strip().lower() in ("true", "1")
    if label not in (True, False):
        raise Fault("no label that is true or false", f"it is {label!r}"[:60])
    rest = {k: v for k, v in value.items() if k not in LABELS}
    parts = read_messages(rest, False) if "messages" in rest else read_completion(rest, False)
    messages = parts["messages"]
    if messages[-1]["role"] != "assistant" or len(messages) < 2:
        raise Fault("no answer after a question", "the last message must be the assistant's")
    return {**parts, "kind": "labelled", "desirable": bool(label), "answer": len(messages) - 1}


def read_prompt(value: Message, weights: bool) -> Parts:
    """{"prompt": ..., "reference": ...}: a question alone, for methods that answer it themselves."""
    messages = _prompt(value, "prompt", False)
    reference = next((str(value[k]) for k in REFERENCES if k in value), "")
    return {"kind": "prompt", "messages": messages, "text": reference, "extra": _others(value, ("prompt", *REFERENCES, *SYSTEM_KEYS))}


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


def detect(value: Any) -> tuple[str, str] | None:
    """The format of one row and the keys that tell it; None for a row that is none."""
    if not isinstance(value, dict):
        return None
    keys = set(value)
    for name, wanted in (
        ("kto", ("label", "messages")), ("kto", ("label", "prompt", "completion")), ("kto", ("desirable", "messages")), ("kto", ("label", "prompt", "response")),
        ("preference", ("chosen", "rejected")), ("preference", ("messages", "rejected_response")),
        ("messages", ("messages",)), ("sharegpt", ("conversations",)), ("alpaca", ("instruction", "output")), *(("completion", pair) for pair in COMPLETIONS),
        ("text", ("text",)), ("prompt", ("prompt",)),
    ):  # fmt: skip
        if keys.issuperset(wanted):
            return name, ", ".join(f"`{k}`" for k in wanted)
    return None
