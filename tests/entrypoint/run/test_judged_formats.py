"""Rows whose answers are judged: in the forms of each tool, recognised as such, and never learned as if all were good."""

import json
from pathlib import Path
from typing import Any

import pytest

from entrypoint.run.formats import detect
from entrypoint.run.rejection import Rejected
from entrypoint.run.rows import Layout, Row, check, find_layout

ASKED, SAID, OTHER = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}
SYSTEM = {"role": "system", "content": "s"}
HUMAN, GPT = {"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}
WORSE = {"from": "gpt", "value": "b"}

PAIRS: dict[str, dict[str, Any]] = {
    "alpaca": {"instruction": "q", "chosen": "a", "rejected": "b"},
    "alpaca with an empty input": {"instruction": "q", "input": "", "chosen": "a", "rejected": "b"},
    "query": {"query": "q", "chosen": "a", "rejected": "b"},
    "sharegpt, single turns": {"conversations": [HUMAN], "chosen": GPT, "rejected": WORSE},
    "sharegpt, lists": {"conversations": [HUMAN], "chosen": [GPT], "rejected": [WORSE]},
    "sharegpt, texts": {"conversations": [HUMAN], "chosen": "a", "rejected": "b"},
    "sharegpt, whole": {"chosen": [HUMAN, GPT], "rejected": [HUMAN, WORSE]},
    "messages before": {"messages": [ASKED], "chosen": SAID, "rejected": OTHER},
    "messages that repeat the chosen": {"messages": [ASKED, SAID], "chosen": [ASKED, SAID], "rejected": [ASKED, OTHER]},
    "messages and a worse text": {"messages": [ASKED, SAID], "rejected": "b"},
    "messages and a worse turn": {"messages": [ASKED, SAID], "rejected_response": [OTHER]},
    "messages and a worse conversation": {"messages": [ASKED, SAID], "rejected_messages": [ASKED, OTHER]},
    "conversations and a worse text": {"conversations": [HUMAN, GPT], "rejected_response": "b"},
    "query, response and a worse one": {"query": "q", "response": "a", "rejected_response": "b"},
    "alpaca and a worse output": {"instruction": "q", "output": "a", "rejected": "b"},
}


@pytest.mark.parametrize("value", PAIRS.values(), ids=PAIRS)
def test_pairs_in_the_forms_of_the_tools(value: dict[str, Any]) -> None:
    found = detect(value)
    assert found and found[0] == "preference"
    row = check(value, "x", Layout("preference", "", {}))
    assert isinstance(row, Row), row
    assert (row.kind, row.messages, row.rejected, row.answer) == ("pair", (ASKED, SAID), (ASKED, OTHER), 1)


def test_the_question_of_a_pair_is_whole() -> None:
    value = {"instruction": "q", "input": "i", "history": [["q", "b"]], "system": "s", "chosen": "a", "rejected": "b"}
    row = check(value, "x", Layout("preference", "", {}))
    assert isinstance(row, Row)
    assert (row.messages, row.extra) == ((SYSTEM, ASKED, OTHER, {"role": "user", "content": "q\ni"}, SAID), ())


@pytest.mark.parametrize("side", [[ASKED, OTHER], [HUMAN, WORSE]])
def test_a_worse_conversation_gets_the_system_message_that_stands_beside(side: list[Any]) -> None:
    row = check({"conversations": [HUMAN, GPT], "system": "s", "rejected": side}, "x", Layout("preference", "", {}))
    assert isinstance(row, Row)
    assert (row.messages, row.rejected) == ((SYSTEM, ASKED, SAID), (SYSTEM, ASKED, OTHER))


LABELLED: dict[str, dict[str, Any]] = {
    "completion": {"prompt": "q", "completion": "a"},
    "question": {"question": "q", "answer": "a"},
    "messages": {"messages": [ASKED, SAID]},
    "sharegpt": {"conversations": [HUMAN, GPT]},
    "alpaca": {"instruction": "q", "output": "a"},
}


@pytest.mark.parametrize("name", ["label", "desirable", "kto_tag"])
@pytest.mark.parametrize("label", [True, False, 1, 0, "true", "False", "0"])
@pytest.mark.parametrize("value", LABELLED.values(), ids=LABELLED)
def test_labels_of_every_conversation(value: dict[str, Any], name: str, label: Any) -> None:
    found = detect({**value, name: label})
    assert found and found[0] == "kto" and f"`{name}`" in found[1]
    row = check({**value, name: label}, "x", Layout("kto", "", {}))
    assert isinstance(row, Row), row
    assert (row.kind, row.messages, row.desirable) == ("labelled", (ASKED, SAID), str(label).lower() in ("true", "1"))


@pytest.mark.parametrize(
    ("value", "format"),
    [
        ({"question": "q", "answer": "a", "label": "geography"}, "completion"),
        ({"question": "q", "answer": "a", "label": 3}, "completion"),
        ({"text": "t", "label": 1}, "text"),
        ({"messages": [ASKED, SAID], "rejected": False}, "messages"),
        ({"question": "q", "answer": "a", "rejected": None}, "completion"),
    ],
)
def test_what_only_sounds_like_a_judgement(value: dict[str, Any], format: str) -> None:
    found = detect(value)
    assert found and found[0] == format


@pytest.mark.parametrize(
    ("columns", "format", "said"),
    [
        ({"prompt": "instructon"}, "completion", "prompt: instructon (`instruction` is meant?); keys here: instruction, "),
        ({"prompt": "instruction", "completion": "answr"}, "auto", "completion: answr (`answer` is meant?)"),
        ({"prompt": "frage"}, "completion", "prompt: frage; keys here: "),
        ({"system": "sytem_text"}, "alpaca", "system: sytem_text (`system_text` is meant?)"),
    ],
)
def test_a_mistyped_column_is_named(tmp_path: Path, columns: dict[str, str], format: str, said: str) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"id": 1, "instruction": "q", "answer": "a", "system_text": "s"}))
    found = find_layout(tmp_path, "/a.jsonl", format, columns)
    assert isinstance(found, Rejected)
    assert found.reason == "`columns` names a key that these rows do not have"
    assert said in found.detail


def test_a_column_of_few_rows_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"q": "q", "a": "a"}))
    assert isinstance(find_layout(tmp_path, "/a.jsonl", "completion", {"prompt": "q", "completion": "a", "system": "context"}), Layout)


@pytest.mark.parametrize("name", ["rejected", "rejected_response", "rejected_messages"])
def test_a_cell_of_a_table_that_holds_turns_is_no_text(name: str) -> None:
    row = check({"messages": json.dumps([ASKED, SAID]), name: json.dumps([ASKED, OTHER])}, "x", Layout("preference", "", {}))
    assert isinstance(row, Row)
    assert row.rejected == (ASKED, OTHER)
