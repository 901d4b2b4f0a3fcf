"""Tables in the README of bench/steps are what its script says today of the raw data that lie beside it."""

import subprocess
import sys
from pathlib import Path

STEPS = Path(__file__).resolve().parents[1] / "bench" / "steps"


def test_the_readme_of_steps_shows_what_the_raw_data_give() -> None:
    """`python bench/steps/table.py h100`: run it and put its output there where a formula moves, and read the verdict again."""
    said = subprocess.run([sys.executable, STEPS / "table.py", "h100"], capture_output=True, text=True, check=True).stdout
    assert "## Choice of the planner" in said
    shown = (STEPS / "README.md").read_text(encoding="utf-8")
    assert shown[shown.index("\n## Attempts") :] == said
