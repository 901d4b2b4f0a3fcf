"""Limits of a process and the clock."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from entrypoint.doctor.machine import clock_finding


def test_open_files_by_the_hard_limit() -> None:
    said = {}
    for limit in (1024, 4096):
        script = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))\nfrom entrypoint.doctor.machine import open_files_finding as f; print(f().state)"
        said[limit] = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    assert said == {1024: "warn", 4096: "ok"}


@pytest.mark.parametrize(("ahead", "state"), [(0, "ok"), (200, "ok"), (7200, "warn")])
def test_clock_behind_what_the_store_holds(tmp_path: Path, ahead: float, state: str) -> None:
    (tmp_path / "demo").mkdir()
    os.utime(tmp_path / "demo", (time.time() + ahead, time.time() + ahead))
    found = clock_finding(tmp_path)
    assert found.state == state
    assert state == "ok" or "2.0 hours before" in found.found


def test_clock_without_a_store(tmp_path: Path) -> None:
    assert clock_finding(tmp_path / "none").state == "ok"
