"""Sources as they lie on the disk: files, folders, globs, and what cannot be read."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from entrypoint import probe
from entrypoint.probe import sources
from entrypoint.probe.machine import nearest_folder
from schemas.facts import SourceFacts


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def names(facts: Any) -> list[str]:
    return [file[0] for file in facts.files]


def test_file(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl")
    os.utime(tmp_path / "a.jsonl", ns=(1, 1_234_567_890_123_456_789))
    found = probe.look(str(tmp_path / "a.jsonl"))
    assert found.kind == "file"
    assert found.files == (("a.jsonl", 7, 1_234_567_890_123_456_789),)


def test_folder(tmp_path: Path) -> None:
    write(tmp_path, "b", "a", "sub/c")
    found = probe.look(str(tmp_path))
    assert (found.kind, names(found)) == ("folder", ["a", "b", "sub/c"])


def test_empty_folder_is_there(tmp_path: Path) -> None:
    assert probe.look(str(tmp_path)) == SourceFacts(kind="folder")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jsonl", ["a.jsonl", "b.jsonl"]),
        ("?.jsonl", ["a.jsonl", "b.jsonl"]),
        ("[b-z].jsonl", ["b.jsonl"]),
        ("**/*.jsonl", ["a.jsonl", "b.jsonl", "sub/c.jsonl"]),
    ],
)
def test_glob(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    write(tmp_path, "b.jsonl", "a.jsonl", "c.txt", "sub/c.jsonl")
    found = probe.look(f"{tmp_path}/{pattern}")
    assert (found.kind, names(found)) == ("folder", [str(tmp_path / e) for e in expected])


def test_glob_below_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "a.jsonl")
    monkeypatch.chdir(tmp_path)
    assert names(probe.look("*.jsonl")) == ["a.jsonl"]


@pytest.mark.parametrize("name", ["no-such", "*.csv", "no/*.jsonl"])
def test_missing(tmp_path: Path, name: str) -> None:
    write(tmp_path, "a.jsonl")
    assert probe.look(f"{tmp_path}/{name}") == SourceFacts(kind="missing")


def test_a_file_whose_name_looks_like_a_glob(tmp_path: Path) -> None:
    """fetch takes the file of exactly that name first, so planning must see it too."""
    write(tmp_path, "a[1].jsonl")
    assert names(probe.look(f"{tmp_path}/a[1].jsonl")) == ["a[1].jsonl"]


def test_a_link_to_nowhere_in_a_folder(tmp_path: Path) -> None:
    write(tmp_path, "a")
    (tmp_path / "b").symlink_to(tmp_path / "gone")
    assert names(probe.look(str(tmp_path))) == ["a"]


@pytest.mark.parametrize("source", ["/proc", "/proc/**/fd/*", "/dev", "/sys/kernel"])
def test_what_is_no_data_at_all(source: str) -> None:
    """Files that vanish while they are listed, devices, and, for other users than root, folders that may not be listed."""
    assert probe.look(source).kind in ("folder", "missing", "unreadable")


@pytest.mark.parametrize("pattern", ["", "/*", "/**/*"])
def test_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
    """`/` as a source, for one: every run would look at all of them."""
    write(tmp_path, *(f"{n}" for n in range(8)))
    monkeypatch.setattr(sources, "MAX_FILES", 9)
    assert probe.look(f"{tmp_path}{pattern}").kind == "folder"
    monkeypatch.setattr(sources, "MAX_FILES", 7)
    assert probe.look(f"{tmp_path}{pattern}") == SourceFacts(kind="unreadable", fault="more than 7 files")


@pytest.mark.parametrize("name", ["a" * 300, "a" * 300 + "/*.jsonl", "loop", "loop/*.jsonl", "file/a", "file/*.jsonl"])
def test_names_that_nothing_can_have(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    write(tmp_path, "file")
    assert probe.look(f"{tmp_path}/{name}") == SourceFacts(kind="missing")


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder with rows and a sub-folder that belongs to another user and is closed to this one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        write(folder, "open.jsonl", "shut/a.jsonl", "hidden/open.jsonl", "hidden/.shut/a.jsonl")
        (folder / "shut").chmod(0)
        (folder / "hidden" / ".shut").chmod(0)
        before = os.geteuid()
        if before == 0:
            os.seteuid(65534)
        yield folder
        os.seteuid(before)
        (folder / "shut").chmod(0o755)
        (folder / "hidden" / ".shut").chmod(0o755)


@pytest.mark.parametrize("inside", ["", "/shut", "/shut/a.jsonl", "/shut/sub/b"])
def test_a_folder_that_may_not_be_listed(closed: Path, inside: str) -> None:
    found = probe.look(f"{closed}{inside}")
    assert (found.kind, found.files) == ("unreadable", ())
    assert found.fault.endswith("cannot be read: Permission denied")
    assert f"{closed}/shut" in found.fault


def test_a_hidden_folder_that_may_not_be_listed(closed: Path) -> None:
    """As .Trash of another user: fetch takes nothing of it."""
    assert names(probe.look(f"{closed}/hidden")) == ["open.jsonl"]


def test_store_and_model_in_a_closed_folder(closed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAISSON_ACCELERATOR", "cpu")  # another user may not import NVML's library from where tests run
    assert nearest_folder(closed / "shut" / "store") == closed / "shut"
    assert not probe.is_writable(closed / "shut" / "store")
    assert probe.read_model(closed / "shut" / "model") is None
    assert probe.probe(closed / "shut" / "store", (f"{closed}/shut/m",), {"m": closed / "shut" / "m"}).models == {}
