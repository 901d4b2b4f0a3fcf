"""What a look at local sources tells; test_fetch.py has what is taken and refused."""

import os

import pytest
from model_folder import model_files, write

from entrypoint.run.sources import check_local, find_rows
from schemas.errors import GateRefused, MachineError, UsageError
from schemas.job import FetchJob


def test_good_sources_pass_and_nothing_is_written(tmp_path):
    write(tmp_path / "m", model_files())
    write(tmp_path / "d", {"a.jsonl": b"{}"})
    before = sorted(tmp_path.rglob("*"))
    check_local(FetchJob(role="model", sources=(f"{tmp_path}/m",)))
    check_local(FetchJob(role="data", sources=(f"{tmp_path}/d", "hf://a/rows", f"{tmp_path}/d/*.jsonl")))
    check_local(FetchJob(role="suites", sources=(f"{tmp_path}/d",)))
    check_local(FetchJob(role="model", sources=("hf://a/b",)))
    assert sorted(tmp_path.rglob("*")) == before


def test_code_passes_where_it_is_trusted(tmp_path):
    write(tmp_path / "m", {**model_files(), "m.py": b"import os"})
    with pytest.raises(GateRefused, match=r"m\.py is Python code"):
        check_local(FetchJob(role="model", sources=(f"{tmp_path}/m",)))
    check_local(FetchJob(role="model", sources=(f"{tmp_path}/m",), trust_remote_code=True))


@pytest.mark.parametrize("role", ["model", "data"])
def test_link_that_leads_back_to_itself(tmp_path, role):
    write(tmp_path / "m", {**model_files(), "rows.jsonl": b"{}"})
    (tmp_path / "m/loop.json").symlink_to("loop.json")
    with pytest.raises(GateRefused, match=r"loop\.json is a link that leads back to itself"):
        check_local(FetchJob(role=role, sources=(f"{tmp_path}/m",)))


def test_rows_in_a_closed_folder_are_not_passed_over(tmp_path, monkeypatch):
    """A glob leaves out in silence what it may not list."""
    write(tmp_path / "d", {"a.jsonl": b"{}", "shut/b.jsonl": b"{}"})
    scandir = os.scandir

    def closed(path):
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    assert len(find_rows(f"{tmp_path}/d/*.jsonl")) == 1
    with pytest.raises(MachineError, match="shut cannot be read: Permission denied"):
        find_rows(f"{tmp_path}/d/**/*.jsonl")
    with pytest.raises(UsageError, match="matches no file"):
        find_rows(f"{tmp_path}/none/**/*.jsonl")


def test_a_plug_in_is_read_and_never_run(tmp_path):
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text("raise SystemExit(3)\n")
    bad.write_text("def f(:\n")
    check_local(FetchJob(role="plugins", sources=(str(good),)))
    with pytest.raises(UsageError, match=r"bad\.py: line 1: invalid syntax"):
        check_local(FetchJob(role="plugins", sources=(str(bad),)))
    with pytest.raises(UsageError, match=r"gone\.py is not there\n.*did you mean .*good\.py"):
        check_local(FetchJob(role="preprocessor", sources=(str(tmp_path / "gone.py"),)))


def test_patterns_and_names_that_are_none(tmp_path):
    write(tmp_path / "d", {"a.jsonl": b"{}"})
    with pytest.raises(UsageError, match=r"\*\*\*.jsonl is no pattern: "):
        find_rows(f"{tmp_path}/d/***.jsonl")
    with pytest.raises(UsageError, match="is too long for the name of a file"):
        check_local(FetchJob(role="data", sources=(f"{tmp_path}/{'a' * 5000}",)))
    (tmp_path / "d" / "\udcff.jsonl").write_bytes(b"{}")  # no UTF-8
    for source in ("d", "d/*"):
        with pytest.raises(GateRefused, match="has unprintable characters in its name"):
            find_rows(f"{tmp_path}/{source}")
