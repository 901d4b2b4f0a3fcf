"""What a fault during training leaves, through the command line, in the train image: the same command goes on and ends with the same bits.

A few trials of each kind; every one with `--whole`. bench/faults says what they are.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.image, pytest.mark.faults]
ROOT = Path(__file__).resolve().parents[2]
FEW = {"faults": "2", "damage": "3", "full": "1", "kills": "1", "control": "^single"}
PARTS = ("faults", "end", "damage", "full", "kills", "control")
EVERY = 3
"""Steps between two saves."""


@pytest.fixture(scope="module")
def rows(request, tmp_path_factory):
    """Rows of every part by its name. With --whole they are kept, so that a run that was stopped goes on."""
    whole = request.config.getoption("--whole")
    path = ROOT / "build/faults/whole.jsonl" if whole else tmp_path_factory.mktemp("faults") / "rows.jsonl"
    counts = dict.fromkeys(PARTS, "all") if whole else FEW
    command = [sys.executable, str(ROOT / "bench/faults/run.py"), "--columns", "caisson", "--parts", ",".join(counts), "--rows", str(path)]
    subprocess.run([*command, "--count", *(f"{part}={count}" for part, count in counts.items())], check=True, stdout=subprocess.DEVNULL)
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {part: [row for row in found if row.get("part") == part and "outcome" in row] for part in counts}


def short(row):
    attempts = [(a["code"], a["begun_at"], a["reached"], a["error"], a["said"]) for a in row["attempts"]]
    return (row["id"], row["outcome"], row["identical"], row["repeated"], attempts)


def test_it_goes_on_and_ends_with_the_same_bits(rows):
    for part, found in rows.items():
        assert found, part
        if part != "control":
            assert [short(row) for row in found if row["outcome"] != "survived exactly"] == []
            # The save that was being written when the run ended, or was damaged since, and the steps since it began.
            assert [short(row) for row in found if row["repeated"] > 2 * EVERY] == []


def test_a_full_disk_is_said_in_words(rows):
    full = [row for part, found in rows.items() for row in found if row.get("how") == "ENOSPC" or part == "full"]
    ended = [(row, row["attempts"][0]) for row in full if row["attempts"][0]["code"] != 0]
    assert full
    # TensorBoard's own thread may show a traceback before it: how Caisson ends is looked at.
    assert [short(row) for row, first in ended if first["code"] != 3 or "caisson: " not in first["error"]] == []


def test_the_comparison_sees_a_lost_random_state(rows):
    found = {row["id"].split("/", 2)[2]: row for row in rows["control"]}
    assert found
    for name, row in found.items():
        if name.endswith("sealed again unchanged"):
            assert row["outcome"] == "survived exactly", short(row)
        else:
            assert row["changed"] and row["attempts"][-1]["code"] == 0 and row["outcome"] == "silently wrong", short(row)
