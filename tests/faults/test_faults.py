"""What a fault during training leaves, through the command line, in the train image: the same command goes on and ends with the same bits.

A few trials of each kind; every one with `--whole`. bench/faults says what they are.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.faults
ROOT = Path(__file__).resolve().parents[2]
FEW = {"faults": "each", "end": "2", "full": "2", "damage": "each", "kills": "8", "control": "all"}
EVERY = 3
"""Steps between two saves."""


@pytest.fixture(scope="module")
def rows(request, tmp_path_factory):
    """Rows of a part, made when first asked for. With --whole they are kept, so that a run that was stopped goes on."""
    whole = request.config.getoption("--whole")
    path = ROOT / "build/faults/whole.jsonl" if whole else tmp_path_factory.mktemp("faults") / "rows.jsonl"

    def of(part):
        count = "all" if whole else FEW[part]
        command = [
            sys.executable,
            str(ROOT / "bench/faults/run.py"),
            "--columns",
            "caisson",
            "--parts",
            part,
            "--count",
            f"{part}={count}",
            "--rows",
            str(path),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [row for row in found if row.get("part") == part and "outcome" in row]

    return of


def short(row):
    return (
        row["id"],
        row["outcome"],
        row["identical"],
        row["repeated"],
        [(a["code"], a["begun_at"], a["reached"], a["error"], a["said"]) for a in row["attempts"]],
    )


@pytest.mark.parametrize("part", ["faults", "end", "full", "damage", "kills"])
def test_it_goes_on_and_ends_with_the_same_bits(rows, part):
    found = rows(part)
    assert found
    assert [short(row) for row in found if row["outcome"] != "survived exactly"] == []
    # A save that was being written when the run ended is lost with the steps since it began; a damaged one too.
    assert [short(row) for row in found if row["repeated"] > 2 * EVERY] == []
    # A full disk is the machine's, not a crash: said in words.
    full = [(row, row["attempts"][0]) for row in found if row.get("how") == "ENOSPC" or part == "full"]
    assert [
        short(row) for row, first in full if first["code"] not in (0, 1, 3) or first["traceback"] or (first["code"] and "caisson: " not in first["error"])
    ] == []


def test_the_comparison_sees_a_lost_random_state(rows):
    found = {row["id"].split("/", 2)[2]: row for row in rows("control")}
    for shape in ("single", "pair"):
        assert found[f"{shape}: sealed again unchanged"]["outcome"] == "survived exactly", short(found[f"{shape}: sealed again unchanged"])
        replaced = found[f"{shape}: random state replaced"]
        assert replaced["changed"] and replaced["attempts"][-1]["code"] == 0 and replaced["outcome"] == "silently wrong", short(replaced)
