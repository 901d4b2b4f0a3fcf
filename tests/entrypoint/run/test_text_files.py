"""Tables, texts, arrays and compressed files."""

import bz2
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from entrypoint.run.rejection import Rejected
from entrypoint.run.row_files import Place, read_files
from entrypoint.run.text_files import CHUNK

ROWS = [{"a": i, "b": "x" * i} for i in range(5)]
LINES = b"".join(json.dumps(r).encode() + b"\n" for r in ROWS)


def read(folder: Path, name: str, content: bytes) -> list[Any]:
    (folder / name).write_bytes(content)
    return list(read_files(folder, f"/{name}"))


@pytest.mark.parametrize(("ending", "pack"), [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
def test_compressed_lines(tmp_path: Path, ending: str, pack: Any) -> None:
    found = read(tmp_path, f"d.jsonl{ending}", pack(LINES))
    assert [value for _, value in found] == ROWS
    assert found[4][0] == f"/d.jsonl{ending}:5"


@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
@pytest.mark.parametrize("damage", [lambda b: b[:-8], lambda b: b[:20] + b"\x00\x01\x02" + b[23:], lambda b: b"no " + b])
def test_a_damaged_file_loses_rows_and_says_so(tmp_path: Path, ending: str, pack: Any, damage: Any) -> None:
    content = damage(pack(b"".join(json.dumps({"a": i, "b": str(i * 7919)}).encode() + b"\n" for i in range(3000))))
    assert read(tmp_path, f"d.jsonl{ending}", content)[-1].rest_lost


@pytest.mark.parametrize(("name", "delimiter"), [("d.csv", b","), ("d.tsv", b"\t")])
def test_a_table(tmp_path: Path, name: str, delimiter: bytes) -> None:
    content = (
        delimiter.join([b"question", b"answer"]) + b"\r\n" + delimiter.join([b'"two\nlines"', b"a"]) + b"\n\n" + delimiter.join([b"q", b'"say ""hi"""']) + b"\n"
    )
    assert read(tmp_path, name, content) == [
        (f"/{name}:2", {"question": "two\nlines", "answer": "a"}),
        (f"/{name}:5", {"question": "q", "answer": 'say "hi"'}),
    ]


@pytest.mark.parametrize(
    ("content", "reason", "lost"),
    [
        (b"a,b\n1\n", "not as many cells as columns", False),
        (b"a,a\n1,2\n", "two columns of one name", True),
        (b"a,b\n", "the file holds no rows", False),
        (b"", "the file holds no rows", False),
        (b'a,b\n"1,2\n', "not a table", True),
        (b"a,b\n1,\xff\n", "not UTF-8", True),
        (b'q;a\n"1, 2";3\n', "columns are separated by something else", True),
        (b"q\ta\n1\t3\n", "columns are separated by something else", True),
    ],
)
def test_bad_tables(tmp_path: Path, content: bytes, reason: str, lost: bool) -> None:
    (found,) = read(tmp_path, "d.csv", content)
    assert isinstance(found, Rejected)
    assert (found.reason, found.rest_lost) == (reason, lost)


def test_a_text_is_one_document(tmp_path: Path) -> None:
    assert read(tmp_path, "d.txt", "\ufeffone\n\ntwo ü\n".encode()) == [("/d.txt", {"text": "one\n\ntwo ü\n"})]
    (bad,) = read(tmp_path, "d.txt", b"a\xff")
    assert (bad.reason, bad.detail) == ("not UTF-8", "byte 2 is 0xff")


@pytest.mark.parametrize("size", [CHUNK - 5, CHUNK, 3 * CHUNK])
def test_an_array_larger_than_what_is_read_at_once(tmp_path: Path, size: int) -> None:
    rows = [{"a": 1}, {"b": "ü" * size}, 12, {"c": [1, {"d": "]"}]}]
    found = read(tmp_path, "d.json", json.dumps(rows, ensure_ascii=False, indent=1).encode())
    assert [value for _, value in found] == rows


@pytest.mark.parametrize(
    ("name", "content"),
    [("d.jsonl", LINES + b"bad\n\n" + LINES), ("d.json", json.dumps(ROWS).encode()), ("d.csv", b"a,b\n1,2\n3\n4,5\n"), ("d.txt", b"text"), ("d.xlsx", b"PK")],
)
def test_reading_goes_on_at_any_place(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "z.jsonl").write_bytes(LINES)
    whole = read(tmp_path, name, content)
    place = Place()
    first = read_files(tmp_path, f"/{name}", place)
    for taken in range(len(whole)):
        assert list(read_files(tmp_path, f"/{name}", Place(place.file, place.row))) == whole[taken:]
        next(first)


@pytest.fixture
def short_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("entrypoint.run.bounded_lines.LINE_BYTES", 100)


@pytest.mark.usefixtures("short_lines")
def test_a_line_that_is_too_large_is_read_over(tmp_path: Path) -> None:
    content = LINES + b"x" * 5000 + b"\n" + LINES
    found = read(tmp_path, "d.jsonl", content)
    assert [f if isinstance(f, Rejected) else f[1] for f in found] == [*ROWS, found[5], *ROWS]
    assert (found[5].where, found[5].rest_lost) == ("/d.jsonl:6", False) and found[5].reason.startswith("a line larger than")
    assert list(read_files(tmp_path, "/d.jsonl", Place(0, 6))) == found[6:]
    assert read(tmp_path, "e.csv", b"a,b\n1,2\n" + b"x" * 500)[-1].rest_lost


@pytest.mark.parametrize("name", ["d.jsonl", "d.csv", "d.txt", "d.json"])
@pytest.mark.parametrize("code", ["utf-16", "utf-16-le", "utf-16-be"])
def test_two_bytes_a_letter(tmp_path: Path, name: str, code: str) -> None:
    text = {"d.jsonl": '{"text": "a"}\n', "d.csv": "a,b\n1,2\n", "d.txt": "ab", "d.json": '[{"text": "a"}]'}[name]
    found = read(tmp_path, name, text.encode(code))
    assert found and all(isinstance(f, Rejected) and f.reason in ("not UTF-8", "not JSON") for f in found)
    if name in ("d.jsonl", "d.txt"):
        assert "UTF-16" in found[0].detail or "0xf" in found[0].detail
