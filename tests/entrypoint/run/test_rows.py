"""Every bad row gets a reason and a place; nothing is dropped in silence."""

import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from entrypoint.run.rejection import Rejected
from entrypoint.run.rows import Row, check, read_rows

GOOD: dict[str, Any] = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
LINE = json.dumps(GOOD).encode()


@pytest.fixture(autouse=True)
def no_collection() -> Iterator[None]:
    """At the bottom of a nested text there is no stack left for the finalizers of what other tests have left over."""
    gc.disable()
    yield
    gc.enable()


def messages(*turns: Any) -> dict[str, Any]:
    return {"messages": [GOOD["messages"][0], *turns]}


def turn(role: Any = "assistant", content: Any = "a", **other: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **other}


ROLE = "a role other than system, user, assistant, tool"
TEXT = "content must be text"


def call(arguments: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "arguments": arguments}}


BAD: list[tuple[str, Any, str, str]] = [
    ("a number", 1, "a row must be an object", ""),
    ("a text", "hello", "a row must be an object", ""),
    ("a list", [GOOD], "a row must be an object", "a list of rows is a .json file: give it that ending"),
    ("a list of none", [1], "a row must be an object", ""),
    ("null", None, "a row must be an object", ""),
    ("true", True, "a row must be an object", ""),
    ("no keys", {}, "no `messages` list", "keys here: none"),
    ("other keys", {"prompt": "q", "completion": "a"}, "no `messages` list", "keys here: prompt, completion; it looks like completion, its source is messages"),
    ("many keys", dict.fromkeys("abcdefgh", 1), "no `messages` list", "keys here: a, b, c, d, e, f"),
    ("messages is text", {"messages": "hello"}, "no `messages` list", "keys here: messages"),
    ("messages is null", {"messages": None}, "no `messages` list", "keys here: messages"),
    ("messages is an object", {"messages": {"role": "user"}}, "no `messages` list", "keys here: messages"),
    ("messages is empty", {"messages": []}, "`messages` is empty", ""),
    ("a message is text", messages("hello"), "a message must be an object", "message 2"),
    ("a message is null", messages(None), "a message must be an object", "message 2"),
    ("a message is a list", messages(["assistant", "a"]), "a message must be an object", "message 2"),
    ("no role", messages({"content": "a"}), ROLE, "message 2 has None"),
    ("role of another case", messages(turn("Assistant")), ROLE, "message 2 has 'Assistant'"),
    ("role with a blank", messages(turn("assistant ")), ROLE, "message 2 has 'assistant '"),
    ("role of another format", messages(turn("gpt")), ROLE, "message 2 has 'gpt'"),
    ("role is a number", messages(turn(1)), ROLE, "message 2 has 1"),
    ("role is a list", messages(turn(["user"])), ROLE, "message 2 has ['user']"),
    ("developer", messages(turn("developer")), ROLE, "message 2 has 'developer'"),
    ("tool result without a call", messages(turn("tool")), "a tool turn that answers no call", "message 2"),
    ("function result", messages(turn("function")), "the role `function` is of an older format", "message 2: write role tool, and the call as tool_calls"),
    ("no tool calls", messages(turn(content=None, tool_calls=[])), TEXT, "message 2 has NoneType"),
    ("tool calls are text", messages(turn(content=None, tool_calls="f()")), "tool_calls must be a list", "message 2 has str"),
    ("a call is text", messages(turn(content=None, tool_calls=["f()"])), "a tool call without a name", "message 2"),
    ("a call has no name", messages(turn(tool_calls=[{"function": {"arguments": "{}"}}])), "a tool call without a name", "message 2"),
    ("arguments are no JSON", messages(turn(tool_calls=[call("{a")])), "the arguments of a tool call are not JSON", "message 2: f"),
    ("arguments are a list", messages(turn(tool_calls=[call("[1]")])), "the arguments of a tool call are not an object", "message 2: f"),
    ("the user calls", messages(turn("user", tool_calls=[call("{}")]), turn()), "a tool call outside an assistant turn", "message 2"),
    ("late system", messages(turn("system"), turn()), "a system message after the first place", "message 2"),
    ("no content", messages({"role": "assistant"}), TEXT, "message 2 has NoneType"),
    ("content is null", messages(turn(content=None)), TEXT, "message 2 has NoneType"),
    ("content is a number", messages(turn(content=4)), TEXT, "message 2 has int"),
    ("an image", messages(turn(content=[{"type": "image_url", "image_url": {}}])), "a part of content that is not text", "message 2 has 'image_url'"),
    ("a part of no type", messages(turn(content=[{"text": "a"}])), TEXT, "message 2 has a list whose parts have no type"),
    ("a part without text", messages(turn(content=[{"type": "text"}])), TEXT, "message 2 has a part without text"),
    ("thinking is a list", messages(turn(reasoning_content=["a"])), "thinking must be text", "message 2: reasoning_content is list"),
    (
        "thinking twice",
        messages(turn(reasoning_content="a", thinking="a")),
        "the thinking of a turn is given twice",
        "message 2 has reasoning_content, thinking",
    ),
    ("tools are a number", {**GOOD, "tools": 3}, "`tools` must be a list", "it is int"),
    ("a tool without a name", {**GOOD, "tools": [{}]}, "a tool without a name", ""),
    ("empty answer", messages(turn(content="")), "an empty assistant turn", "message 2"),
    ("blank answer", messages(turn(content=" \n\t")), "an empty assistant turn", "message 2"),
    ("unknown keys", messages(turn(score=0, id=1)), "a message with unknown keys", "message 2 has score, id"),
    ("a weight", messages(turn(weight=0)), "a message says whether it is learned", "message 2 has `weight`; write loss_on: weight, or take it out"),
    ("only a question", {"messages": [turn("user")]}, "no assistant turn", ""),
    ("only a system message", {"messages": [turn("system")]}, "no assistant turn", ""),
    ("third message", messages(turn(), turn("user", 7)), TEXT, "message 3 has int"),
]


@pytest.mark.parametrize(("value", "reason", "detail"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_row(tmp_path: Path, value: Any, reason: str, detail: str) -> None:
    """As the third line of a file, so that its place is known."""
    assert read(tmp_path, LINE + b"\n" + LINE + b"\n" + json.dumps(value).encode() + b"\n" + LINE + b"\n")[2] == Rejected("/d.jsonl:3", reason, detail)


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        (b"{", "not JSON", "Expecting property name enclosed in double quotes at column 2"),
        (b"hello", "not JSON", "Expecting value at column 1"),
        (b"[", "not JSON", "a list of rows is a .json file: give it that ending"),
        (b"{'messages': []}", "not JSON", "Expecting property name enclosed in double quotes at column 2"),
        (LINE + b",", "not JSON", f"Extra data at column {len(LINE) + 1}"),
        (LINE + LINE, "not JSON", f"Extra data at column {len(LINE) + 1}"),
        (LINE[:-4], "not JSON", None),
        (b'{"messages": "a\x01b"}', "not JSON", "Invalid control character at at column 16"),
        (b"[" * 100_000, "not JSON", "nested too deeply"),
        (b'{"a": "\xff"}', "not UTF-8", "byte 8 of the line is 0xff"),
        (b"\xc3", "not UTF-8", "byte 1 of the line is 0xc3"),
        ('{"a": "ü"}'.encode("latin-1"), "not UTF-8", "byte 8 of the line is 0xfc"),
        ('{"a": "ü"}'.encode("utf-16"), "not UTF-8", "it has bytes of zero, as UTF-16 and damaged files have: save the file as UTF-8"),
        (b"\xef\xbb\xbf" + LINE, "not JSON", None),
    ],
    ids=[
        "brace",
        "word",
        "bracket",
        "single quotes",
        "comma",
        "two on a line",
        "cut off",
        "control character",
        "deep",
        "ff",
        "half a letter",
        "latin-1",
        "utf-16",
        "BOM inside",
    ],
)
def test_bad_line(tmp_path: Path, line: bytes, reason: str, detail: str | None) -> None:
    found = read(tmp_path, LINE + b"\n" + line + b"\n" + LINE + b"\n")
    assert isinstance(found[0], Row)
    assert isinstance(found[-1], Row)
    bad = found[1]
    assert isinstance(bad, Rejected)
    assert (bad.where, bad.reason) == ("/d.jsonl:2", reason)
    if detail is not None:
        assert bad.detail == detail


def read(folder: Path, content: bytes, name: str = "d.jsonl") -> list[Row | Rejected]:
    (folder / name).write_bytes(content)
    return list(read_rows(folder, f"/{name}"))


def test_good_row(tmp_path: Path) -> None:
    (row,) = read(tmp_path, LINE)
    assert row == Row("/d.jsonl:1", ({"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}))


@pytest.mark.parametrize(
    "value",
    [
        {"messages": [turn("system", "s"), turn("user"), turn()]},
        {"messages": [turn("system", ""), turn("user", ""), turn()]},
        {"messages": [turn()]},
        {"messages": [turn("user"), turn("user"), turn(), turn()]},
        {"messages": [turn("user", name="Ada"), turn()]},
        {"messages": [turn("user", "東京 ☂️\u2028 \x00"), turn()]},
    ],
    ids=["system", "empty question", "answer alone", "twice in a row", "name", "letters"],
)
def test_good_rows(value: Any) -> None:
    assert isinstance(check(value, "x"), Row)


def test_name_is_not_kept_and_other_keys_are_told() -> None:
    row = check({"id": 7, **messages(turn(name="Ada")), "source": "x"}, "x")
    assert isinstance(row, Row)
    assert row.messages[1] == {"role": "assistant", "content": "a"}
    assert row.extra == ("id", "source")


def test_bom_at_the_start(tmp_path: Path) -> None:
    (row,) = read(tmp_path, b"\xef\xbb\xbf" + LINE)
    assert isinstance(row, Row)


def test_bom_alone(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbf") == [Rejected("/d.jsonl", "the file holds no rows")]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_line_ends(tmp_path: Path, end: bytes) -> None:
    found = read(tmp_path, end.join([LINE, LINE, b"bad", LINE]))
    assert [r.where for r in found] == [f"/d.jsonl:{n}" for n in (1, 2, 3, 4)]
    assert [type(r) for r in found] == [Row, Row, Rejected, Row]


def test_blank_lines_count_as_lines_not_as_rows(tmp_path: Path) -> None:
    found = read(tmp_path, b"\n \t\n" + LINE + b"\n\r\n\n" + LINE + b"\n\n\n")
    assert [r.where for r in found] == ["/d.jsonl:3", "/d.jsonl:6"]


def test_letters_that_end_lines_elsewhere_do_not_here(tmp_path: Path) -> None:
    """U+2028 and U+0085 end a line for str.splitlines, not in JSON Lines."""
    value = json.dumps(messages(turn(content="a\u2028b\u0085c\x0b")), ensure_ascii=False).encode()
    found = read(tmp_path, value + b"\n" + value)
    assert [type(r) for r in found] == [Row, Row]


def test_no_end_of_the_last_line(tmp_path: Path) -> None:
    assert len(read(tmp_path, LINE + b"\n" + LINE)) == 2


@pytest.mark.parametrize("content", [b"", b"\n\n", b"  "])
def test_empty_file(tmp_path: Path, content: bytes) -> None:
    assert read(tmp_path, content) == [Rejected("/d.jsonl", "the file holds no rows")]


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', "NaN", '{"x": Infinity}'])
def test_never_a_traceback(tmp_path: Path, text: str) -> None:
    assert [type(r) for r in read(tmp_path, text.encode())] == [Rejected]


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        (messages(turn(content="\ud83d")), "message 2"),
        (messages(turn("user", "\ude00 a"), turn()), "message 2"),
        (messages(turn(**{"\ud83d": 1})), "message 2"),
        ({"\ud83d": 1, **GOOD}, "in a key"),
    ],
)
def test_a_lone_surrogate_is_rejected(tmp_path: Path, value: Any, detail: str) -> None:
    """No tokenizer takes it, and no report can be written with it."""
    (found,) = read(tmp_path, json.dumps(value).encode())
    assert found == Rejected("/d.jsonl:1", "half of a surrogate pair", detail)


def test_a_whole_surrogate_pair_is_a_letter(tmp_path: Path) -> None:
    (found,) = read(tmp_path, json.dumps(messages(turn(content="😀"))).encode())
    assert isinstance(found, Row)
    assert found.messages[1]["content"] == "😀"


def test_a_number_of_thousands_of_digits_is_rejected(tmp_path: Path) -> None:
    (found,) = read(tmp_path, b'{"id": ' + b"9" * 5000 + b', "messages": []}')
    assert isinstance(found, Rejected)
    assert found.reason == "not JSON"
