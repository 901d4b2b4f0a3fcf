"""One JSON object a line, whole, from however many processes."""

import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from entrypoint.run.events import Events, say

ROOT = Path(__file__).resolve().parents[3]


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_write(tmp_path: Path) -> None:
    before = time.time()
    events = Events(tmp_path / "logs" / "deep" / "train.jsonl")
    events.write("step", step=1, loss=0.5)
    events.write("done")
    one, two = lines(events.path)
    assert (one["event"], one["step"], one["loss"]) == ("step", 1, 0.5)
    assert isinstance(one["at"], float)
    assert before - 1 <= one["at"] <= time.time() + 1
    assert list(two) == ["at", "event"]


def test_appends_to_what_an_earlier_run_wrote(tmp_path: Path) -> None:
    for number in range(3):
        Events(tmp_path / "e.jsonl").write("again", number=number)
    assert [line["number"] for line in lines(tmp_path / "e.jsonl")] == [0, 1, 2]


def test_letters_and_line_ends_stay_in_one_line(tmp_path: Path) -> None:
    Events(tmp_path / "e.jsonl").write("said", text="ü 東京\nsecond\r\nthird")
    assert (tmp_path / "e.jsonl").read_bytes().count(b"\n") == 1
    assert lines(tmp_path / "e.jsonl")[0]["text"] == "ü 東京\nsecond\r\nthird"
    assert "東京" in (tmp_path / "e.jsonl").read_text(encoding="utf-8")


def write_many(path: Path, who: int) -> None:
    for number in range(200):
        Events(path).write("many", who=who, number=number, filling="x" * 300)


def test_lines_of_several_processes_do_not_mix(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=write_many, args=(tmp_path / "e.jsonl", who)) for who in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    found = lines(tmp_path / "e.jsonl")
    for who in range(4):
        assert [line["number"] for line in found if line["who"] == who] == list(range(200))


def test_say_is_seen_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    say("hello")
    assert capfd.readouterr().out == "hello\n"


SAY = "from entrypoint.run.events import say\nfor n in range(3): say(f'line {n}')\nopen(3, 'w').write('done')"


@pytest.mark.parametrize("onto", ["/dev/full", "a pipe that nobody reads"])
def test_work_does_not_end_with_its_log(onto: str, tmp_path: Path) -> None:
    """Days of training, and a log whose disk is full, or a `tee` that was stopped."""
    if onto == "/dev/full":
        out = os.open(onto, os.O_WRONLY)
    else:
        read, out = os.pipe()
        os.close(read)
    script = SAY.replace("open(3, 'w')", f"open({str(tmp_path / 'made')!r}, 'w')")
    said = subprocess.run([sys.executable, "-c", script], cwd=ROOT, stdout=out, stderr=subprocess.PIPE, text=True)
    os.close(out)
    assert (said.returncode, (tmp_path / "made").read_text()) == (0, "done")
    assert said.stderr.count("\n") == 1, "said once"
    assert said.stderr.startswith("caisson: standard output cannot be written (")
