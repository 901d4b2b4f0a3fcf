"""docs/cli.md is what the commands say."""

import subprocess
import sys
from pathlib import Path

from entrypoint import manual
from entrypoint.cli import cli

ROOT = Path(__file__).resolve().parents[2]


def test_page_is_current() -> None:
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == manual.page(), "run `make generate`"


def test_every_command_has_its_place() -> None:
    headings = [line.removeprefix("## ") for line in manual.page().splitlines() if line.startswith("## ")]
    assert headings == ["caisson", *(f"caisson {name}" for name in sorted(cli.commands))]


def test_check() -> None:
    said = subprocess.run([sys.executable, "-m", "entrypoint.manual", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
