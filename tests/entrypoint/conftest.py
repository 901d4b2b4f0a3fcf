"""A small run, and the command line."""

from pathlib import Path

import pytest
from small_run import Caisson, SmallRun


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
