"""Checks on the demo data set in data/harbor/."""

import json
import re
from pathlib import Path

import pytest

HARBOR = Path(__file__).resolve().parents[2] / "data" / "harbor"


def load(name):
    text = (HARBOR / name).read_bytes().decode("utf-8")
    assert text.endswith("\n")
    return [json.loads(line) for line in text.removesuffix("\n").split("\n")]


TRAIN = load("train.jsonl")
HELD_OUT = load("held-out.jsonl")


def said(row, role):
    return [m["content"] for m in row["messages"] if m["role"] == role]


def normalised(text):
    return " ".join(re.findall(r"\w+", text.casefold()))


def test_counts():
    assert 250 <= len(TRAIN) <= 300
    assert 25 <= len(HELD_OUT) <= 35


def test_row_keys():
    assert all(set(row) == {"messages"} for row in TRAIN)
    assert all(set(row) == {"messages", "key"} for row in HELD_OUT)


@pytest.mark.parametrize("rows", [TRAIN, HELD_OUT], ids=["train", "held-out"])
def test_roles_alternate_and_end_with_assistant(rows):
    for row in rows:
        roles = [m["role"] for m in row["messages"]]
        if roles[0] == "system":
            roles = roles[1:]
        assert roles, row
        assert roles == ["user", "assistant"] * (len(roles) // 2), row


@pytest.mark.parametrize("rows", [TRAIN, HELD_OUT], ids=["train", "held-out"])
def test_contents_are_short_clean_text(rows):
    for row in rows:
        for message in row["messages"]:
            assert set(message) == {"role", "content"}
            assert message["content"]
            assert message["content"] == message["content"].strip()
        assert sum(len(m["content"]) for m in row["messages"]) < 400


def test_no_duplicate_rows_or_questions():
    rows = [json.dumps(row["messages"], sort_keys=True) for row in TRAIN + HELD_OUT]
    assert len(rows) == len(set(rows))
    # A repeated question would leave a fact with fewer phrasings than it seems.
    questions = [normalised(q) for row in TRAIN for q in said(row, "user")]
    assert len(questions) == len(set(questions))


def test_held_out_questions_are_not_trained_on():
    trained = {normalised(q) for row in TRAIN for q in said(row, "user")}
    held_out = [normalised(q) for row in HELD_OUT for q in said(row, "user")]
    assert len(held_out) == len(set(held_out))
    assert trained.isdisjoint(held_out)


def test_keys_are_distinct():
    keys = [row["key"].casefold() for row in HELD_OUT]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("row", HELD_OUT, ids=lambda row: row["key"])
def test_key(row):
    key = row["key"].casefold()
    assert key
    asked = said(row, "user") + said(row, "system")
    assert not any(key in text.casefold() for text in asked)
    assert key in said(row, "assistant")[-1].casefold()
    answers = [a.casefold() for r in TRAIN for a in said(r, "assistant")]
    assert sum(key in a for a in answers) >= 6


def test_no_key_is_given_away_by_a_training_question():
    keys = [row["key"].casefold() for row in HELD_OUT]
    for row in TRAIN:
        for question in said(row, "user"):
            assert not any(key in question.casefold() for key in keys), question
