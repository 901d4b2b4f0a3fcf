"""Each format: what becomes of a good row, what is said of a bad one, and how it is recognised."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from entrypoint.run.formats import FORMATS, detect
from entrypoint.run.rejection import Rejected
from entrypoint.run.rows import Layout, Row, check, find_layout, read_rows

DOCS = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"### (\w+)\n.*?```jsonl\n(.*?)```", DOCS, flags=re.DOTALL))
ASKED, SAID = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
OTHER = {"role": "assistant", "content": "b"}
SYSTEM = {"role": "system", "content": "s"}


def row(format: str, value: Any, weights: bool = False, **columns: str) -> Row | Rejected:
    return check(value, "x", Layout(format, "", columns), weights)


def test_the_manual_has_an_example_of_each() -> None:
    assert set(EXAMPLES) == set(FORMATS)


@pytest.mark.parametrize("format", FORMATS)
def test_the_manuals_examples_are_recognised_and_read(tmp_path: Path, format: str) -> None:
    (tmp_path / "rows.jsonl").write_text(EXAMPLES[format], encoding="utf-8")
    layout = find_layout(tmp_path, "/data/rows.jsonl", "auto", {})
    assert isinstance(layout, Layout)
    assert layout.format == format
    found = list(read_rows(tmp_path, "/data/rows.jsonl"))
    assert [r for r in found if isinstance(r, Rejected)] == []
    assert len(found) == EXAMPLES[format].count("\n")


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


PAIRS: list[dict[str, Any]] = [
    {"prompt": "q", "chosen": "a", "rejected": "b"},
    {"question": "q", "chosen": "a", "rejected": "b"},
    {"prompt": [ASKED], "chosen": [SAID], "rejected": [OTHER]},
    {"prompt": "q", "chosen": [ASKED, SAID], "rejected": [ASKED, OTHER]},
    {"chosen": [ASKED, SAID], "rejected": [ASKED, OTHER]},
    {"messages": [ASKED, SAID], "rejected_response": "b"},
]


@pytest.mark.parametrize("value", PAIRS)
def test_pairs(value: dict[str, Any]) -> None:
    found = row("preference", value)
    assert isinstance(found, Row)
    assert (found.kind, found.messages, found.rejected, found.answer) == ("pair", (ASKED, SAID), (ASKED, OTHER), 1)


@pytest.mark.parametrize(("label", "desirable"), [(True, True), (False, False), (1, True), (0, False), ("true", True), ("False", False), ("0", False)])
def test_labels(label: Any, desirable: bool) -> None:
    for value in ({"prompt": "q", "completion": "a", "label": label}, {"messages": [ASKED, SAID], "label": label}):
        found = row("kto", value)
        assert isinstance(found, Row)
        assert (found.kind, found.messages, found.answer, found.desirable) == ("labelled", (ASKED, SAID), 1, desirable)


def test_text_and_prompts() -> None:
    text, prompt = row("text", {"text": "t", "id": 1}), row("prompt", {"prompt": "q", "ground_truth": 4})
    assert isinstance(text, Row) and isinstance(prompt, Row)
    assert (text.kind, text.text, text.extra) == ("raw", "t", ("id",))
    assert (prompt.kind, prompt.messages, prompt.text) == ("prompt", (ASKED,), "4")


BAD: list[tuple[str, dict[str, Any], str, str]] = [
    ("sharegpt", {"messages": []}, "no `conversations` list", "keys here: messages; it looks like messages, its source is sharegpt"),
    ("sharegpt", {"conversations": [{"from": "ai", "value": "a"}]}, "`from` is none of the known roles", "message 1 has 'ai'"),
    ("sharegpt", {"conversations": ["q"]}, "a message must be an object", "message 1"),
    ("sharegpt", {"conversations": [{"from": "human", "value": 1}]}, "content must be text", "message 1 has int"),
    ("sharegpt", {"conversations": [{"from": "function_call", "value": "f("}]}, "the arguments of a tool call are not JSON", "message 1"),
    ("sharegpt", {"system": "s", "conversations": [SYSTEM, ASKED, SAID]}, "two system messages", ""),
    ("alpaca", {"instruction": "q", "output": ""}, "no answer", "`output` is empty"),
    ("alpaca", {"instruction": "q", "output": 4}, "no answer", "`output` is int"),
    ("alpaca", {"instruction": " ", "output": "a"}, "no question", "it is empty"),
    ("alpaca", {"instruction": ["q"], "output": "a"}, "`instruction` and `input` must be text", ""),
    ("alpaca", {"instruction": "q", "output": "a", "history": "q"}, "`history` must be a list of [question, answer]", ""),
    ("alpaca", {"instruction": "q", "output": "a", "history": [["q", None]]}, "no answer", "`history` is NoneType"),
    ("completion", {"prompt": "q"}, "no question with its answer", "keys here: prompt; it looks like prompt"),
    ("completion", {"prompt": "", "completion": "a"}, "no question", "`prompt` is empty"),
    ("completion", {"prompt": "q", "completion": None}, "no answer", "`completion` is NoneType"),
    ("completion", {"prompt": [ASKED], "completion": [ASKED]}, "an answer that does not begin with the assistant", "`completion`"),
    ("text", {"text": ""}, "`text` is empty", ""),
    ("text", {"text": ["t"]}, "no `text`", "it is list"),
    ("text", {"text": "\ud83d"}, "half of a surrogate pair", ""),
    ("preference", {"chosen": "a", "rejected": "b"}, "no question", "`chosen` and `rejected` as text need a `prompt`"),
    ("preference", {"prompt": "q", "chosen": "a", "rejected": "a"}, "chosen and rejected are the same", ""),
    ("preference", {"prompt": "q", "chosen": "a"}, "no answer", "`rejected` is NoneType"),
    (
        "preference",
        {"chosen": [ASKED, SAID], "rejected": [{**ASKED, "content": "other"}, OTHER]},
        "chosen and rejected are not answers to the same question",
        "",
    ),
    ("preference", {"chosen": [ASKED, SAID], "rejected": [ASKED]}, "chosen and rejected are not answers to the same question", ""),
    ("preference", {"chosen": [SAID], "rejected": [OTHER]}, "no question", "chosen and rejected begin with the answer"),
    ("kto", {"prompt": "q", "completion": "a"}, "no label that is true or false", "it is None"),
    ("kto", {"prompt": "q", "completion": "a", "label": "good"}, "no label that is true or false", "it is 'good'"),
    ("kto", {"prompt": "q", "completion": "a", "label": 0.5}, "no label that is true or false", "it is 0.5"),
    ("kto", {"messages": [ASKED, SAID, ASKED], "label": True}, "no answer after a question", ""),
    ("prompt", {"prompt": 3}, "no question", "`prompt` is int"),
]


@pytest.mark.parametrize(("format", "value", "reason", "detail"), BAD)
def test_bad_rows(format: str, value: dict[str, Any], reason: str, detail: str) -> None:
    found = row(format, value)
    assert isinstance(found, Rejected)
    assert found.reason == reason
    assert detail in found.detail


def test_columns_map_names() -> None:
    found = row("completion", {"frage": "q", "antwort": "a", "prompt": "not this"}, prompt="frage", completion="antwort")
    assert isinstance(found, Row)
    assert found.messages == (ASKED, SAID)


@pytest.mark.parametrize(
    ("value", "format"),
    [
        ({"prompt": "q", "completion": "a", "label": True}, "kto"), ({"messages": [], "label": 1}, "kto"), ({"prompt": 1, "chosen": 1, "rejected": 1}, "preference"),
        ({"messages": [], "rejected_response": ""}, "preference"), ({"instruction": 1, "output": 1}, "alpaca"), ({"prompt": 1, "ground_truth": 1}, "prompt"),
        ({"question": 1, "answer": 1}, "completion"), ({"text": 1, "meta": 1}, "text"), ({"messages": [], "text": 1}, "messages"),
    ],
)  # fmt: skip
def test_recognised(value: dict[str, Any], format: str) -> None:
    found = detect(value)
    assert found is not None
    assert found[0] == format


def test_the_layout_is_what_most_of_the_first_rows_have(tmp_path: Path) -> None:
    rows = [{"text": "t"}] * 3 + [{"messages": []}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    layout = find_layout(tmp_path, "/a.jsonl", "auto", {})
    assert isinstance(layout, Layout)
    assert (layout.format, layout.why) == ("text", "3 of the first 4 rows have `text`")


def test_no_layout_names_the_keys(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"frage": "q"}')
    layout = find_layout(tmp_path, "/a.jsonl", "auto", {})
    assert isinstance(layout, Rejected)
    assert "frage" in layout.detail and "columns" in layout.detail
