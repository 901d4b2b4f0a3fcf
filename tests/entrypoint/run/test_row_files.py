"""Which files of a source are read, in which order, and arrays of rows; lines are test_rows.py's, other kinds of files test_text_files.py's."""

import json
from pathlib import Path
from typing import Any

import pytest

from entrypoint.run.rejection import Rejected
from entrypoint.run.rows import Row, read_rows

GOOD: dict[str, Any] = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
UNDER_DATA = "its list is under the key `data`: write that list alone into the file"
LINE = json.dumps(GOOD).encode()


def read(folder: Path, content: bytes, name: str = "d.jsonl") -> list[Row | Rejected]:
    (folder / name).write_bytes(content)
    return list(read_rows(folder, f"/{name}"))


def test_json_array(tmp_path: Path) -> None:
    found = read(tmp_path, json.dumps([GOOD, 1, GOOD], indent=1).encode(), "d.json")
    assert [r.where for r in found] == ["/d.json:row 1", "/d.json:row 2", "/d.json:row 3"]
    assert found[1] == Rejected("/d.json:row 2", "a row must be an object")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"[]", Rejected("/d.json", "the file holds no rows")),
        (b"7", Rejected("/d.json", "a .json file must hold a list of rows", "one row a line belongs into a .jsonl file", rest_lost=True)),
        (b'{"data":\n[]}', Rejected("/d.json", "a .json file must hold a list of rows", UNDER_DATA, rest_lost=True)),
        (b"", Rejected("/d.json:1", "not JSON", "Expecting value at column 1", rest_lost=True)),
        (b"[\xff]", Rejected("/d.json", "not UTF-8", "byte 2 of the file", rest_lost=True)),
        (b"[" * 100_000, Rejected("/d.json", "not JSON", "nested too deeply", rest_lost=True)),
    ],
    ids=["empty", "number", "one object", "nothing", "not UTF-8", "deep"],
)
def test_bad_array(tmp_path: Path, content: bytes, expected: Rejected) -> None:
    assert read(tmp_path, content, "d.json") == [expected]


@pytest.mark.parametrize(
    ("behind", "place", "said"),
    [(b",\n,]", "/d.json:3", "Expecting value at column 1"), (b"", "/d.json:2", ""), (b"\n{]", "/d.json:3", ""), (b" 5]", "/d.json:2", "")],
)
def test_an_array_that_breaks_off_loses_what_is_behind_and_says_so(tmp_path: Path, behind: bytes, place: str, said: str) -> None:
    found = read(tmp_path, b"[" + LINE + b",\n" + LINE + behind, "d.json")
    assert [type(r) for r in found[:2]] == [Row, Row]
    assert isinstance(found[-1], Rejected) and found[-1].rest_lost
    assert (found[-1].where, found[-1].reason) == (place, "not JSON")
    assert said in found[-1].detail


def test_lines_in_a_file_named_json_are_read_as_lines(tmp_path: Path) -> None:
    assert [r.where for r in read(tmp_path, LINE + b"\n" + LINE, "d.json")] == ["/d.json:1", "/d.json:2"]
    assert [type(r) for r in read(tmp_path, LINE, "d.json")] == [Row]


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


@pytest.mark.parametrize("name", ["d.xlsx", "d.gz", "d", "d.parquet.gz"])
def test_other_files(tmp_path: Path, name: str) -> None:
    (found,) = read(tmp_path, LINE, name)
    assert isinstance(found, Rejected)
    assert found.reason.startswith("not a file of rows: .jsonl, ")
    assert found.rest_lost


@pytest.mark.parametrize("name", ["d.JSONL", "d.Json"])
def test_what_fetch_takes_is_read(tmp_path: Path, name: str) -> None:
    """Fetch takes .JSONL from a folder: it must not be refused here."""
    content = LINE if name.lower().endswith("l") else b"[" + LINE + b"]"
    assert [type(r) for r in read(tmp_path, content, name)] == [Row]
