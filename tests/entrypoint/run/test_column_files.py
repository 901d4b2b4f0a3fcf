"""Parquet, Arrow, and Zstandard, through pyarrow."""

import datetime
import json

import pytest

pytest.importorskip("pyarrow")

import pyarrow as pa
import pyarrow.parquet as pq

from entrypoint.run.row_files import Place, read_files
from entrypoint.run.rows import Row, read_rows

pytestmark = pytest.mark.image

ROWS = [{"messages": [{"role": "user", "content": f"q{i}"}, {"role": "assistant", "content": "a", "thinking": "t" if i else None}]} for i in range(1300)]


def write(folder, name):

    table, path = pa.Table.from_pylist(ROWS), folder / name
    if name.endswith(".parquet"):
        pq.write_table(table, path, row_group_size=300)
    elif name == "file.arrow":
        with pa.ipc.new_file(path, table.schema) as out:
            out.write_table(table)
    elif name.endswith(".arrow"):
        with pa.ipc.new_stream(path, table.schema) as out:
            out.write_table(table, max_chunksize=200)
    else:
        with pa.CompressedOutputStream(str(path), "zstd") as out:
            out.write("".join(json.dumps(r) + "\n" for r in ROWS).encode())


@pytest.mark.parametrize("name", ["d.parquet", "file.arrow", "stream.arrow", "d.jsonl.zst"])
def test_rows(tmp_path, name):
    write(tmp_path, name)
    found = list(read_rows(tmp_path, f"/{name}"))
    assert len(found) == 1300
    assert all(isinstance(r, Row) for r in found)
    assert found[0].messages == ({"role": "user", "content": "q0"}, {"role": "assistant", "content": "a"})
    assert found[1].messages[1]["reasoning_content"] == "t"
    assert found[1299].where == (f"/{name}:1300" if "jsonl" in name else f"/{name}:row 1300")
    assert [r.where for r in read_rows(tmp_path, f"/{name}", place=Place(0, 1290))] == [r.where for r in found[1290:]]


@pytest.mark.parametrize("name", ["d.parquet", "file.arrow", "stream.arrow", "d.jsonl.zst"])
@pytest.mark.parametrize("keep", [0, 6, 2000])
def test_a_cut_file_says_so(tmp_path, name, keep):
    write(tmp_path, name)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:keep])
    last = list(read_files(tmp_path, f"/{name}"))[-1]
    assert not isinstance(last, tuple)
    assert last.rest_lost or (keep == 0 and last.reason == "the file holds no rows")


def reasons(folder, table):
    pq.write_table(table, folder / "d.parquet")
    return [(r.reason, r.detail) for r in read_rows(folder, "/d.parquet") if not isinstance(r, Row)]


@pytest.mark.parametrize("values", [pa.array([b"\xff"]), pa.array([1], pa.date32()), pa.array([1], pa.timestamp("us"))])
def test_cells_that_are_no_text(tmp_path, values):
    ((reason, detail),) = reasons(tmp_path, pa.table({"text": values}))
    assert reason == "no `text`" and detail.startswith("it is ")


def test_values_that_json_does_not_have(tmp_path):
    call = {"function": {"name": "f", "arguments": {"at": datetime.date(2026, 1, 1)}}}
    messages = [{"role": "user", "content": "q", "tool_calls": None}, {"role": "assistant", "content": "", "tool_calls": [call]}]
    ((reason, detail),) = reasons(tmp_path, pa.Table.from_pylist([{"messages": messages}]))
    assert reason == "a value that JSON does not have" and detail.startswith("message 2: ")
    tools = [{"name": "f", "since": datetime.date(2026, 1, 1)}]
    ((reason, detail),) = reasons(tmp_path, pa.Table.from_pylist([{"messages": ROWS[0]["messages"], "tools": tools}]))
    assert reason == "a value that JSON does not have" and detail.startswith("tool f: ")


def test_a_time_that_no_calendar_has(tmp_path):
    ((reason, detail),) = reasons(tmp_path, pa.table({"text": ["a"], "at": pa.array([2**62], pa.timestamp("us"))}))
    assert reason.startswith("not a .parquet file") and "out of range" in detail


def test_two_columns_of_one_name(tmp_path):
    assert reasons(tmp_path, pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])) == [("two columns of one name", "text")]
