"""The line that setup writes for Compose: once, and without touching what a person wrote."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("before", "after"),
    [(None, ""), ("ACCELERATOR=cuda\n", "ACCELERATOR=cuda\n"), ("PORT=9000", "PORT=9000\n")],
)
def test_written_once(tmp_path: Path, before: str | None, after: str) -> None:
    (tmp_path / "setup").mkdir()
    shutil.copy(ROOT / "setup" / "limit.sh", tmp_path / "setup")
    if before is not None:
        (tmp_path / ".env").write_text(before)
    for _ in range(2):
        subprocess.run(["bash", str(tmp_path / "setup" / "limit.sh")], check=True)
    said = (tmp_path / ".env").read_text()
    assert said.startswith(after)
    (limit,) = re.findall(r"^MEMORY_LIMIT=(\d+)m$", said, re.MULTILINE)
    total = int(re.search(r"MemTotal: +(\d+)", Path("/proc/meminfo").read_text())[1]) / 1024  # type: ignore[index]
    assert 0.89 < int(limit) / total <= 0.9


def test_what_a_person_wrote_stays(tmp_path: Path) -> None:
    (tmp_path / "setup").mkdir()
    shutil.copy(ROOT / "setup" / "limit.sh", tmp_path / "setup")
    (tmp_path / ".env").write_text("MEMORY_LIMIT=8g\n")
    subprocess.run(["bash", str(tmp_path / "setup" / "limit.sh")], check=True)
    assert (tmp_path / ".env").read_text() == "MEMORY_LIMIT=8g\n"
