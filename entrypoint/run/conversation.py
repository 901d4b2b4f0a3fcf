"""Messages as OpenAI's API has them -> messages as chat templates want them; what is not one is a fault with a reason."""

import json
from typing import Any

from entrypoint.run.rejection import Fault

Message = dict[str, Any]
ROLES = ("system", "user", "assistant", "tool")
HALF = "half of a surrogate pair"
"""JSON can write one (`\\\\ud83d` alone); no tokenizer takes it and no file can hold it."""

THOUGHTS = ("reasoning_content", "reasoning", "thinking")
"""Names under which the thinking of a turn is given; templates know the first."""

WEIGHTS = ("weight", "loss", "train")
"""Names under which a turn says whether it is learned, here and in other trainers."""

KNOWN = frozenset(("role", "content", "name", "tool_calls", "tool_call_id", "refusal", *THOUGHTS, *WEIGHTS))


def check_messages(messages: Any, *, weights: bool = False, key: str = "messages") -> tuple[Message, ...]:
    """The messages, normalised; raises Fault. `weights`: whether a turn's `weight` is read, so that it may be there."""
    if not isinstance(messages, list):
        raise Fault(f"no `{key}` list")
    if not messages:
        raise Fault(f"`{key}` is empty")
    kept: list[Message] = []
    for at, message in enumerate(messages):
        kept.append(_check(message, at, weights))
        _check_order(kept)
    return tuple(kept)


def _check(message: Any, at: int, weights: bool) -> Message:
    place = f"message {at + 1}"
    if not isinstance(message, dict):
        raise Fault("a message must be an object", place)
    role = message.get("role")
    if role == "function":
        raise Fault("the role `function` is of an older format", f"{place}: write role tool, and the call as tool_calls")
    if role not in ROLES:
        raise Fault(f"a role other than {', '.join(ROLES)}", f"{place} has {role!r}")
    if role == "system" and at:
        raise Fault("a system message after the first place", place)
    if extra := [k for k in message if k not in KNOWN]:
        raise Fault(HALF if not all(map(is_text, extra)) else "a message with unknown keys", place + _told(extra))
    kept: Message = {"role": role, "content": _content(message, place)}
    if role == "assistant":
        _add_thoughts(kept, message, place)
        if message.get("tool_calls"):
            kept["tool_calls"] = [_call(call, place) for call in _listed(message["tool_calls"], place)]
        elif not kept["content"].strip():
            raise Fault("an empty assistant turn", place)
    elif message.get("tool_calls"):
        raise Fault("a tool call outside an assistant turn", place)
    if role == "tool":
        kept |= {k: message[k] for k in ("name", "tool_call_id") if isinstance(message.get(k), str)}
    _add_weight(kept, message, place, weights)
    if len(kept) > 2 and not is_text(_written(kept, place)):
        raise Fault(HALF, place)
    return kept


def _told(keys: list[Any]) -> str:
    return f" has {', '.join(map(str, keys[:4]))}" if all(map(is_text, keys)) else ""


def _content(message: Message, place: str) -> str:
    content = message.get("content")
    if isinstance(content, list):
        content = _joined(content, place)
    if content is None and message.get("role") == "assistant" and message.get("tool_calls"):
        return ""
    if not isinstance(content, str):
        raise Fault("content must be text", f"{place} has {type(content).__name__}")
    if not is_text(content):
        raise Fault(HALF, place)
    return content


def _joined(parts: list[Any], place: str) -> str:
    found = []
    for part in parts:
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise Fault("content must be text", f"{place} has a list whose parts have no type")
        if part["type"] != "text":
            raise Fault("a part of content that is not text", f"{place} has {part['type']!r}")
        if not isinstance(part.get("text"), str):
            raise Fault("content must be text", f"{place} has a part without text")
        found.append(part["text"])
    return "".join(found)


def _add_thoughts(kept: Message, message: Message, place: str) -> None:
    given = [(k, message[k]) for k in THOUGHTS if message.get(k) not in (None, "")]
    if len(given) > 1:
        raise Fault("the thinking of a turn is given twice", f"{place} has {', '.join(k for k, _ in given)}")
    for name, thought in given:
        if not isinstance(thought, str):
            raise Fault("thinking must be text", f"{place}: {name} is {type(thought).__name__}")
        kept[THOUGHTS[0]] = thought


def _add_weight(kept: Message, message: Message, place: str, weights: bool) -> None:
    """Only assistant turns are ever learned, so a weight of 0 elsewhere says nothing new, and any other asks for what is not done."""
    given = [(k, message[k]) for k in WEIGHTS if k in message and message[k] is not None]
    if not given:
        return
    name, weight = given[0]
    if not weights:
        raise Fault("a message says whether it is learned", f"{place} has `{name}`; write loss_on: weight, or take it out")
    if len(given) > 1 or (weight not in (0, 1)):
        raise Fault("a weight other than 0 and 1", f"{place}: {name} is {weight!r}")
    if kept["role"] == "assistant":
        kept["weight"] = int(weight)
    elif weight:
        raise Fault("a weight of 1 outside an assistant turn", place)


def _listed(calls: Any, place: str) -> list[Any]:
    if not isinstance(calls, list):
        raise Fault("tool_calls must be a list", f"{place} has {type(calls).__name__}")
    return calls


def _call(call: Any, place: str) -> Message:
    """One call; its arguments become an object, as templates and vLLM's server want them."""
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise Fault("a tool call without a name", place)
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except (ValueError, RecursionError):
            raise Fault("the arguments of a tool call are not JSON", f"{place}: {function['name']}") from None
    if not isinstance(arguments, dict):
        raise Fault("the arguments of a tool call are not an object", f"{place}: {function['name']}")
    kept = {"type": "function", "function": {"name": function["name"], "arguments": arguments}}
    return {"id": call["id"], **kept} if isinstance(call.get("id"), str) else kept


def _check_order(kept: list[Message]) -> None:
    """A tool answers a call: it follows the turn that made it, or another answer."""
    if kept[-1]["role"] != "tool":
        return
    before = kept[-2] if len(kept) > 1 else {}
    if not (before.get("tool_calls") or before.get("role") == "tool"):
        raise Fault("a tool turn that answers no call", f"message {len(kept)}")


def check_tools(tools: Any) -> tuple[Message, ...]:
    """The descriptions of tools, as a list or as its JSON text; raises Fault."""
    if isinstance(tools, str):
        try:
            tools = json.loads(tools or "[]")
        except (ValueError, RecursionError):
            raise Fault("`tools` is not JSON") from None
    if tools is None:
        return ()
    if not isinstance(tools, list):
        raise Fault("`tools` must be a list", f"it is {type(tools).__name__}")
    for tool in tools:
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise Fault("a tool without a name")
        if not is_text(_written(tool, f"tool {function['name']}")):
            raise Fault(HALF, "in a tool")
    return tuple(tool if "function" in tool else {"type": "function", "function": tool} for tool in tools)


def _written(value: Message, place: str) -> str:
    """As JSON; raises Fault for what a column of a table may hold and JSON does not."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except TypeError as error:
        raise Fault("a value that JSON does not have", f"{place}: {error}") from None


def is_text(text: object) -> bool:
    """Whether a string can be written as UTF-8."""
    if not isinstance(text, str) or text.isascii():
        return isinstance(text, str)
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
