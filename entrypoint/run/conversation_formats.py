"""The formats in which conversations, texts and questions come, each as a function from one row's value to what is trained on; raises Fault."""

import json
from typing import Any

from entrypoint.run.conversation import HALF, Message, check_messages, check_tools, is_text
from entrypoint.run.rejection import Fault

Parts = dict[str, Any]
"""Fields of a Row beside its place."""

COMPLETIONS = (
    ("prompt", "completion"), ("prompt", "response"), ("question", "answer"), ("query", "response"), ("question", "response"),
    ("problem", "solution"), ("instruction", "response"), ("input", "output"), ("prompt", "answer"), ("source", "target"),
)  # fmt: skip
"""Names of a question and its answer, the first that a row has."""

REFERENCES = ("reference", "reference_answer", "ground_truth", "solution", "target")
SHAREGPT_ROLES = {
    "human": "user", "user": "user", "prompter": "user", "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant", "bot": "assistant",
    "model": "assistant", "bard": "assistant", "bing": "assistant", "system": "system", "observation": "tool", "tool": "tool", "tool_response": "tool",
    "function_response": "tool", "function_call": "call", "tool_call": "call",
}  # fmt: skip
"""Words for roles in `from`; `call` is an assistant turn that calls a tool."""

SYSTEM_KEYS = ("system", "system_prompt")
ALPACA_KEYS = ("instruction", "input", "history")


def read_messages(value: Message, weights: bool) -> Parts:
    """{"messages": [{"role": ..., "content": ...}]}, and `tools`."""
    if not isinstance(value.get("messages"), list):
        raise Fault("no `messages` list", f"keys here: {', '.join(map(str, list(value)[:6])) or 'none'}")
    return conversation_parts(check_messages(value["messages"], weights=weights), value, ("messages", "tools"))


def conversation_parts(messages: tuple[Message, ...], value: Message, used: tuple[str, ...]) -> Parts:
    """Fields of a conversation's Row; `used` are the keys that were read."""
    if not any(m["role"] == "assistant" for m in messages):
        raise Fault("no assistant turn")
    return {"kind": "conversation", "messages": messages, "tools": check_tools(value.get("tools")), "extra": others(value, used)}


def others(value: Message, used: tuple[str, ...]) -> tuple[str, ...]:
    """Keys that are not read."""
    return tuple(k for k in value if k not in used)


def read_sharegpt(value: Message, weights: bool) -> Parts:
    """{"conversations": [{"from": "human", "value": ...}]}, `system` and `tools`."""
    turns = value.get("conversations")
    if not isinstance(turns, list):
        raise Fault("no `conversations` list", f"keys here: {', '.join(map(str, list(value)[:6])) or 'none'}")
    messages = [_turn(turn, f"message {at}") for at, turn in enumerate(turns, start=1)]
    system = system_of(value)
    if system and messages and messages[0]["role"] == "system":
        raise Fault("two system messages", f"`{SYSTEM_KEYS[0]}` and message 1")
    checked = check_messages([*system, *messages], weights=weights, key="conversations")
    return conversation_parts(checked, value, ("conversations", "tools", *SYSTEM_KEYS))


def turns_of(given: Any) -> Any:
    """A list of turns, those of sharegpt as messages; anything else as it is."""
    if not isinstance(given, list):
        return given
    return [_turn(turn, f"message {at}") if isinstance(turn, dict) and "from" in turn else turn for at, turn in enumerate(given, start=1)]


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


def system_of(value: Message) -> list[Message]:
    """The system message that stands beside the turns, if there is one."""
    found = next((value[k] for k in SYSTEM_KEYS if value.get(k)), None)
    return [{"role": "system", "content": found}] if found else []


def read_alpaca(value: Message, weights: bool) -> Parts:
    """{"instruction": ..., "input": ..., "output": ...}, `system` and `history`, a list of [question, answer]."""
    turns = question_of(value)
    turns.append(_answered(value.get("output"), "output"))
    return conversation_parts(check_messages([*system_of(value), *turns]), value, (*ALPACA_KEYS, "output", "tools", *SYSTEM_KEYS))


def question_of(value: Message) -> list[Message]:
    """Turns of an alpaca row before its answer."""
    turns: list[Message] = []
    history = value.get("history") or []
    if not isinstance(history, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in history):
        raise Fault("`history` must be a list of [question, answer]")
    for question, answer in history:
        turns += [_asked(question), _answered(answer, "history")]
    # The question is instruction and input, a line each, as in the other trainers that read this format.
    parts = [part for key in ("instruction", "input") if (part := value.get(key)) not in (None, "")]
    if not all(isinstance(part, str) for part in parts):
        raise Fault("`instruction` and `input` must be text")
    return [*turns, _asked("\n".join(parts))]


def _asked(question: Any) -> Message:
    if not isinstance(question, str) or not question.strip():
        raise Fault("no question", f"it is {type(question).__name__}" if not isinstance(question, str) else "it is empty")
    return {"role": "user", "content": question}


def _answered(answer: Any, key: str) -> Message:
    if not isinstance(answer, str) or not answer.strip():
        raise Fault("no answer", f"`{key}` is {'empty' if isinstance(answer, str) else type(answer).__name__}")
    return {"role": "assistant", "content": answer}


def read_completion(value: Message, weights: bool) -> Parts:
    """{"prompt": ..., "completion": ...} or other names of a question and its answer: texts, or lists of messages."""
    names = next((pair for pair in COMPLETIONS if pair[0] in value and pair[1] in value), None)
    if names is None:
        raise Fault("no question with its answer", f"keys here: {', '.join(map(str, list(value)[:6])) or 'none'}")
    question, answer = names
    return conversation_parts((*prompt_of(value, question, weights), *answer_of(value, answer, weights)), value, (*names, "tools", *SYSTEM_KEYS))


def prompt_of(value: Message, key: str, weights: bool) -> tuple[Message, ...]:
    """The question: a text, or a list of turns."""
    prompt = turns_of(value.get(key))
    if isinstance(prompt, list):
        return check_messages([*system_of(value), *prompt], weights=weights, key=key)
    if not isinstance(prompt, str) or not prompt.strip():
        raise Fault("no question", f"`{key}` is {'empty' if isinstance(prompt, str) else type(prompt).__name__}")
    return check_messages([*system_of(value), {"role": "user", "content": prompt}])


def answer_of(value: Message, key: str, weights: bool) -> tuple[Message, ...]:
    """One assistant turn of a text; a list may hold several messages."""
    answer = value.get(key)
    answer = turns_of([answer] if isinstance(answer, dict) else answer)
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
    return {"kind": "raw", "text": text, "extra": others(value, ("text",))}


def read_prompt(value: Message, weights: bool) -> Parts:
    """{"prompt": ..., "reference": ...}: a question alone, for methods that answer it themselves."""
    messages = prompt_of(value, "prompt", False)
    reference = next((str(value[k]) for k in REFERENCES if k in value), "")
    return {"kind": "prompt", "messages": messages, "text": reference, "extra": others(value, ("prompt", *REFERENCES, *SYSTEM_KEYS))}
