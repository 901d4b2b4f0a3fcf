"""Names of files that hold rows."""

import pytest

from entrypoint.run.row_names import kind_of
from entrypoint.run.sources import choose_remote, choose_rows, split_source


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jsonl", ".jsonl"), ("a.JSONL", ".jsonl"), ("a.b.json.gz", ".json"), ("a.csv.zst", ".csv"), ("a.arrow.xz", ".arrow"), ("a.parquet", ".parquet"),
        ("a.parquet.gz", ""), ("a.gz", ""), ("a", ""), ("a.md", ""), (".jsonl", ""), ("a.tar.gz", ""), ("a.txt.bz2", ".txt"),
    ],
)  # fmt: skip
def test_kind(name: str, kind: str) -> None:
    assert kind_of(name) == kind


def test_what_describes_rows_is_not_taken_for_rows() -> None:
    assert choose_rows(["d/a.parquet", "dataset_infos.json", "d/state.json", "README.txt", ".cache/b.jsonl", "c.md"]) == ["d/a.parquet"]
    assert choose_rows(["a.txt", "b/c.txt"]) == ["a.txt", "b/c.txt"]


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("hf://o/n", ("hf://o/n", "")), ("hf://o/n@v1", ("hf://o/n@v1", "")), ("ms://o/n/d/*.csv", ("ms://o/n", "d/*.csv")),
        ("hf://o/n@refs/convert/parquet/default/0.parquet", ("hf://o/n@refs/convert/parquet", "default/0.parquet")), ("hf://o/n@main/a.json", ("hf://o/n@main", "a.json")),
    ],
)  # fmt: skip
def test_parts_of_a_source(source: str, parts: tuple[str, str]) -> None:
    assert split_source(source) == parts


def test_a_glob_stays_in_its_folder() -> None:
    assert choose_remote(["d/a.csv", "d/e/b.csv", "c.csv"], "d/*.csv") == ["d/a.csv"]
    assert choose_remote(["d/a.csv", "d/e/b.csv", "c.csv"], "d") == ["d/a.csv", "d/e/b.csv"]
