"""The disk is measured where the store is, once, and leaves one small file."""

import os
import time
from pathlib import Path

import pytest
from kept_store import plan, step

from entrypoint.probe import disk_write_gib
from entrypoint.run import disk_speed
from entrypoint.run.disk_speed import CHUNK, OLD_SECONDS, know_disk, measure
from entrypoint.run.execute import execute
from entrypoint.run.store import Store
from schemas.facts import DISK_SPEED, SLOWEST, DiskSpeed, read_disk_speed


def remember(root: Path, gib: float, age: float = 0.0) -> None:
    (root / DISK_SPEED).write_text(DiskSpeed(gib_per_second=gib, measured_at=time.time() - age).model_dump_json())


def test_bytes_over_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two chunks within the limit, by a clock that the flushes move: a quarter of a second in all, and then one too many."""
    now = [0.0]
    real = os.fsync

    def flush(descriptor: int) -> None:
        real(descriptor)
        now[0] += disk_speed.SECONDS * 0.6

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(os, "fsync", flush)
    assert measure(tmp_path) == pytest.approx(2 * CHUNK / (disk_speed.SECONDS * 1.2) / 2**30)
    assert list(tmp_path.iterdir()) == []


def test_measured_once_and_read_by_the_probe(tmp_path: Path) -> None:
    assert disk_write_gib(tmp_path) is None
    know_disk(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [DISK_SPEED]
    first = (tmp_path / DISK_SPEED).read_bytes()
    found = disk_write_gib(tmp_path)
    assert found and found > 0
    know_disk(tmp_path)
    assert (tmp_path / DISK_SPEED).read_bytes() == first


@pytest.mark.parametrize("age", [OLD_SECONDS + 60, -3600.0], ids=["old", "from the future"])
def test_measured_again(tmp_path: Path, age: float) -> None:
    remember(tmp_path, 12345.0, age)
    know_disk(tmp_path)
    assert disk_write_gib(tmp_path) != 12345.0


@pytest.mark.parametrize("content", [b"", b"{", b'{"gib_per_second": 0, "measured_at": 1}', b'{"gib_per_second": "NaN", "measured_at": 1}', b"\xff"])
def test_a_file_that_is_damaged_is_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / DISK_SPEED).write_bytes(content)
    assert disk_write_gib(tmp_path) is None
    know_disk(tmp_path)
    assert disk_write_gib(tmp_path)


def test_a_store_that_cannot_be_written_stays_unknown(tmp_path: Path) -> None:
    know_disk(tmp_path / "not there")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("stage", "measured"), [("fetch", True), ("prepare", True), ("train", True), ("export", False)])
def test_stages_that_write_measure(tmp_path: Path, stage: str, measured: bool) -> None:
    leaf = "import json, sys; task = json.load(open(sys.argv[1])); open(task['summary'], 'w').write('{\"versions\": {}, \"summary\": {}}')"
    execute(plan(step(stage=stage, argv=("python", "-c", leaf, "{task}"))), Store(tmp_path))
    assert (disk_write_gib(tmp_path) is not None) is measured


@pytest.mark.image
def test_a_disk_that_is_full_stays_unknown(small_disk: Path) -> None:
    know_disk(small_disk)
    assert list(small_disk.iterdir()) == []


def test_a_disk_slower_than_any_is_remembered_as_the_slowest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network store under load: what is written down can be read back."""
    monkeypatch.setattr("entrypoint.run.disk_speed.measure", lambda _: 1e-7)
    know_disk(tmp_path)
    found = read_disk_speed((tmp_path / DISK_SPEED).read_bytes())
    assert found
    assert found.gib_per_second == SLOWEST
