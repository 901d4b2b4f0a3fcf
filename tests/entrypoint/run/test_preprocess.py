"""A preprocessor's rows, and a stop between two of them."""

import json
from pathlib import Path

import pytest

from entrypoint.run.plugin_code import PluginCode
from entrypoint.run.preprocess import Preprocessor
from entrypoint.run.rejection import Rejected
from entrypoint.run.row_files import Place
from schemas.errors import StepFailed
from schemas.job import PluginJob

SPLITS = """
def f(row, times: int = 1):
    n = row["n"]
    if n == 0:
        return "zero is nothing"
    if n < 0:
        return None if n == -1 else []
    return row if n == 1 else [{"n": n, "part": at} for at in range(n * times)]
"""


def reader(tmp_path: Path, rows: list[object], text: str = SPLITS) -> Preprocessor:
    folder = tmp_path / "rows"
    folder.mkdir(exist_ok=True)
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "00.py").write_text(text)
    return Preprocessor(PluginCode({"preprocessor": PluginJob(source="own.py", name="f", file="00.py")}, tmp_path))


def test_a_row_several_and_a_rejection(tmp_path: Path) -> None:
    read = reader(tmp_path, [{"n": 1}, {"n": 2}, {"n": 0}, "no row"])
    assert list(read(tmp_path / "rows", "/d")) == [
        ("/d:1", {"n": 1}),
        ("/d:2 (1)", {"n": 2, "part": 0}),
        ("/d:2 (2)", {"n": 2, "part": 1}),
        Rejected("/d:3", "preprocessor: zero is nothing"),
        ("/d:4", "no row"),
    ]


@pytest.mark.parametrize(("n", "kind"), [(-1, "NoneType"), (-2, "an empty list")])
def test_nothing_is_dropped_without_a_reason(tmp_path: Path, n: int, kind: str) -> None:
    read = reader(tmp_path, [{"n": n}])
    with pytest.raises(StepFailed, match=f"plugins.preprocessor: own.py:f returned {kind} for /d:1"):
        list(read(tmp_path / "rows", "/d"))


def test_it_goes_on_from_any_row_of_them(tmp_path: Path) -> None:
    read = reader(tmp_path, [{"n": 3}, {"n": 1}, {"n": 2}, {"n": 0}, {"n": 2}])
    whole = list(read(tmp_path / "rows", "/d"))
    assert len(whole) == 9
    for taken in range(len(whole) + 1):
        place = Place()
        rows = read(tmp_path / "rows", "/d", place)
        first = [next(rows) for _ in range(taken)]
        kept = Place(place.file, place.row, place.part)
        assert first + list(read(tmp_path / "rows", "/d", kept)) == whole
