"""A small run, and the command line."""

import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_run import Caisson, SmallRun

SMALL = Path("/small")


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 4 MiB, empty before the test and after it; tests/image/run.sh mounts it."""

    def clear() -> None:
        for left in SMALL.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()

    with (SMALL.parent / "tmp" / "small.lock").open("w") as lock:  # there is one, and tests run side by side
        fcntl.flock(lock, fcntl.LOCK_EX)
        clear()
        yield SMALL
        clear()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallRun:
    """As in a CPU image."""
    monkeypatch.setenv("CAISSON_ACCELERATOR", "cpu")
    return SmallRun(tmp_path)


@pytest.fixture
def caisson(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Caisson:
    """`caisson ARGUMENTS` on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    return Caisson(monkeypatch, capfd)
