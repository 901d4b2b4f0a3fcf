"""What becomes of good rows of conversations; bad ones and the other formats are test_formats.py's."""

from typing import Any

import pytest

from entrypoint.run.conversation_formats import turns_of
from entrypoint.run.rejection import Rejected
from entrypoint.run.rows import Layout, Row, check

ASKED, SAID = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
OTHER = {"role": "assistant", "content": "b"}
SYSTEM = {"role": "system", "content": "s"}


def row(format: str, value: Any, weights: bool = False, **columns: str) -> Row | Rejected:
    return check(value, "x", Layout(format, "", columns), weights)


GOOD: list[tuple[str, dict[str, Any], list[dict[str, Any]]]] = [
    ("sharegpt", {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}, [ASKED, SAID]),
    ("sharegpt", {"conversations": [ASKED, SAID]}, [ASKED, SAID]),
    ("sharegpt", {"system": "s", "conversations": [{"from": "user", "value": "q"}, {"from": "bot", "value": "a"}]}, [SYSTEM, ASKED, SAID]),
    ("sharegpt", {"conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}, [SYSTEM, ASKED, SAID]),
    ("alpaca", {"instruction": "q", "output": "a"}, [ASKED, SAID]),
    ("alpaca", {"instruction": "q", "input": "", "output": "a"}, [ASKED, SAID]),
    ("alpaca", {"instruction": "q", "input": "i", "output": "a"}, [{"role": "user", "content": "q\ni"}, SAID]),
    ("alpaca", {"instruction": "q", "output": "a", "system": "s", "history": [["q", "b"]]}, [SYSTEM, ASKED, OTHER, ASKED, SAID]),
    ("completion", {"prompt": "q", "completion": "a"}, [ASKED, SAID]),
    ("completion", {"question": "q", "answer": "a", "system": "s"}, [SYSTEM, ASKED, SAID]),
    ("completion", {"prompt": [SYSTEM, ASKED], "completion": [SAID]}, [SYSTEM, ASKED, SAID]),
    ("completion", {"prompt": [ASKED], "completion": SAID}, [ASKED, SAID]),
    ("messages", {"messages": [ASKED, {"role": "assistant", "content": [{"type": "text", "text": "a"}]}]}, [ASKED, SAID]),
]


@pytest.mark.parametrize(("format", "value", "messages"), GOOD)
def test_conversations(format: str, value: dict[str, Any], messages: list[dict[str, Any]]) -> None:
    found = row(format, value)
    assert isinstance(found, Row)
    assert (found.kind, list(found.messages)) == ("conversation", messages)


CALL = {"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}


@pytest.mark.parametrize("arguments", ['{"a": 1}', {"a": 1}])
def test_arguments_of_a_call_become_an_object(arguments: Any) -> None:
    call = {"function": {"name": "f", "arguments": arguments}}
    found = row("messages", {"messages": [ASKED, {"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "content": "r"}, SAID]})
    assert isinstance(found, Row)
    assert found.messages[1] == {"role": "assistant", "content": "", "tool_calls": [CALL]}


def test_a_call_in_sharegpt() -> None:
    turns = [("human", "q"), ("function_call", '{"name": "f", "arguments": {"a": 1}}'), ("observation", "r"), ("gpt", "a")]
    found = row("sharegpt", {"conversations": [{"from": f, "value": v} for f, v in turns], "tools": '[{"name": "f"}]'})
    assert isinstance(found, Row)
    assert [m["role"] for m in found.messages] == ["user", "assistant", "tool", "assistant"]
    assert found.messages[1]["tool_calls"] == [CALL]
    assert found.tools == ({"type": "function", "function": {"name": "f"}},)


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
def test_thinking_has_one_name(name: str) -> None:
    found = row("messages", {"messages": [ASKED, {**SAID, name: "t"}]})
    assert isinstance(found, Row)
    assert found.messages[1] == {**SAID, "reasoning_content": "t"}


@pytest.mark.parametrize(("given", "weight"), [({"weight": 0}, 0), ({"weight": 1}, 1), ({"loss": False}, 0), ({"train": True}, 1)])
def test_weights_where_they_are_read(given: dict[str, Any], weight: int) -> None:
    found = row("messages", {"messages": [ASKED, {**SAID, **given}]}, weights=True)
    assert isinstance(found, Row)
    assert found.messages[1]["weight"] == weight


def test_turns_of_sharegpt_among_messages() -> None:
    assert turns_of([{"from": "human", "value": "q"}, SAID]) == [ASKED, SAID]
    assert turns_of("q") == "q"
