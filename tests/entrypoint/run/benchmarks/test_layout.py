"""Where parts of a benchmark lie in data sets of several forms."""

import pytest

from entrypoint.run.benchmarks.layout import files_of


@pytest.mark.parametrize(
    "files, found",
    [
        (["all/test-00000-of-00001.parquet", "all/dev-00000-of-00001.parquet", "law/test-00000-of-00001.parquet"], ["all/test-00000-of-00001.parquet"]),
        (["all_test.jsonl", "all_dev.jsonl"], ["all_test.jsonl"]),
        (["test/all_test.csv", "dev/all_dev.csv"], ["test/all_test.csv"]),
        (["test/all.csv", "dev/all.csv"], ["test/all.csv"]),
        (["data/all/test-00000-of-00002.parquet", "data/all/test-00001-of-00002.parquet"], ["data/all/test-00000-of-00002.parquet", "data/all/test-00001-of-00002.parquet"]),
        (["all.json.gz"], ["all.json.gz"]),
        (["small/test.jsonl", "overall/test.jsonl"], []),
        (["all/contest.jsonl"], []),
    ],
)  # fmt: skip
def test_found(files: list[str], found: list[str]) -> None:
    assert files_of(files, "all", "test", alone=False) == found


def test_the_only_part_need_not_be_named() -> None:
    assert files_of(["data/test-00000-of-00001.parquet", "README.txt"], "main", "test", alone=True) == ["data/test-00000-of-00001.parquet"]
    assert files_of(["data/test-00000-of-00001.parquet"], "main", "test", alone=False) == []
