"""Every bad row gets a reason and a place; nothing is dropped in silence."""

import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from entrypoint.run.rows import Rejected, Row, check, read_rows

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


ROLE = "a role other than system, user, assistant"
TOOLS = "tool calls are not built yet in this version"
TEXT = "content must be text"

BAD: list[tuple[str, Any, str, str]] = [
    ("a number", 1, "a row must be an object", ""),
    ("a text", "hello", "a row must be an object", ""),
    ("a list", [GOOD], "a row must be an object", ""),
    ("null", None, "a row must be an object", ""),
    ("true", True, "a row must be an object", ""),
    ("no keys", {}, "no `messages` list", "keys here: none"),
    ("other keys", {"prompt": "q", "completion": "a"}, "no `messages` list", "keys here: prompt, completion"),
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
    ("tool result", messages(turn("tool")), TOOLS, "message 2"),
    ("function result", messages(turn("function")), TOOLS, "message 2"),
    ("tool calls", messages(turn(content=None, tool_calls=[])), TOOLS, "message 2"),
    ("late system", messages(turn("system"), turn()), "a system message after the first place", "message 2"),
    ("no content", messages({"role": "assistant"}), TEXT, "message 2 has NoneType"),
    ("content is null", messages(turn(content=None)), TEXT, "message 2 has NoneType"),
    ("content is a number", messages(turn(content=4)), TEXT, "message 2 has int"),
    ("content in parts", messages(turn(content=[{"type": "text", "text": "a"}])), TEXT, "message 2 has list"),
    ("empty answer", messages(turn(content="")), "an empty assistant turn", "message 2"),
    ("blank answer", messages(turn(content=" \n\t")), "an empty assistant turn", "message 2"),
    ("unknown keys", messages(turn(weight=0, loss=False)), "a message with unknown keys", "message 2 has weight, loss"),
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
        (b"{'messages': []}", "not JSON", "Expecting property name enclosed in double quotes at column 2"),
        (LINE + b",", "not JSON", f"Extra data at column {len(LINE) + 1}"),
        (LINE + LINE, "not JSON", f"Extra data at column {len(LINE) + 1}"),
        (LINE[:-4], "not JSON", None),
        (b'{"messages": "a\x01b"}', "not JSON", "Invalid control character at at column 16"),
        (b"[" * 100_000, "not JSON", "nested too deeply"),
        (b'{"a": "\xff"}', "not UTF-8", "byte 8 of the line is 0xff"),
        (b"\xc3", "not UTF-8", "byte 1 of the line is 0xc3"),
        ('{"a": "ü"}'.encode("latin-1"), "not UTF-8", "byte 8 of the line is 0xfc"),
        ('{"a": "ü"}'.encode("utf-16"), "not UTF-8", "byte 1 of the line is 0xff"),
        (b"\xef\xbb\xbf" + LINE, "not JSON", None),
    ],
    ids=[
        "brace",
        "word",
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


def test_json_array(tmp_path: Path) -> None:
    found = read(tmp_path, json.dumps([GOOD, 1, GOOD], indent=1).encode(), "d.json")
    assert [r.where for r in found] == ["/d.json:row 1", "/d.json:row 2", "/d.json:row 3"]
    assert found[1] == Rejected("/d.json:row 2", "a row must be an object")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"[]", Rejected("/d.json", "the file holds no rows")),
        (LINE, Rejected("/d.json", "a .json file must hold a list of rows", "one row a line belongs into a .jsonl file")),
        (b"", Rejected("/d.json:1", "not JSON", "Expecting value at column 1")),
        (b"[\n1,\n,]", Rejected("/d.json:3", "not JSON", "Expecting value at column 1")),
        (b"[\xff]", Rejected("/d.json", "not UTF-8", "byte 2")),
        (LINE + b"\n" + LINE, Rejected("/d.json:2", "not JSON", "Extra data at column 1")),
        (b"[" * 100_000, Rejected("/d.json", "not JSON", "nested too deeply")),
    ],
    ids=["empty", "one row", "nothing", "comma", "not UTF-8", "lines", "deep"],
)
def test_bad_array(tmp_path: Path, content: bytes, expected: Rejected) -> None:
    assert read(tmp_path, content, "d.json") == [expected]


def test_array_with_a_bom(tmp_path: Path) -> None:
    (row,) = read(tmp_path, b"\xef\xbb\xbf[" + LINE + b"]", "d.json")
    assert isinstance(row, Row)


def test_several_files_in_name_order_with_their_names(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.jsonl").write_bytes(LINE)
    (tmp_path / "a.jsonl").write_bytes(LINE + b"\nbad")
    (tmp_path / "sub" / "c.json").write_bytes(b"[" + LINE + b"]")
    found = list(read_rows(tmp_path, "/data/"))
    assert [r.where for r in found] == ["/data/a.jsonl:1", "/data/a.jsonl:2", "/data/b.jsonl:1", "/data/sub/c.json:row 1"]


@pytest.mark.parametrize("name", ["d.csv", "d.txt", "d.parquet", "d"])
def test_other_files(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, LINE, name) == [Rejected(f"/{name}", "not a .jsonl or .json file")]


@pytest.mark.parametrize("name", ["d.JSONL", "d.Json"])
def test_what_fetch_takes_is_read(tmp_path: Path, name: str) -> None:
    """Fetch takes .JSONL from a folder: it must not be refused here."""
    content = LINE if name.lower().endswith("l") else b"[" + LINE + b"]"
    assert [type(r) for r in read(tmp_path, content, name)] == [Row]


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
