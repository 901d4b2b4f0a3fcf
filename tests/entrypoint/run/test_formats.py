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
