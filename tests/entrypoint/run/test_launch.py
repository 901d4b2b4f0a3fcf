"""Ranks below the launcher: what the step ends with, how long they have to stop, and that none outlives it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")

import psutil

from entrypoint.run.memory_kills import memory_kills
from schemas.job import FetchJob, Task

ROOT = Path(__file__).resolve().parents[3]
pytestmark = [pytest.mark.image, pytest.mark.timeout(120)]

RANKS = """
import json, os, signal, sys, time
from pathlib import Path
from entrypoint.run.leaf import run_leaf
from entrypoint.run.ranks import rank
from schemas.errors import *

def work(task, events):
    do = os.environ[f"DO_{rank()}"]
    folder = Path(task.output)
    stopped = []
    if do.startswith("stops"): signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    (folder / f"pid-{rank()}").write_text(str(os.getpid()))
    if do == "waits" or do.startswith("stops"):
        while not stopped: time.sleep(0.02)
    if do.startswith("stops"):
        time.sleep(float(do.split()[1]))
        (folder / f"saved-{rank()}").touch()
        raise Interrupted("i", "again")
    if do == "usage": raise UsageError("u", "f")
    if do == "machine": raise MachineError("m", "f")
    if do == "gate": raise GateRefused("g", "f")
    if do == "bug": raise KeyError("ours")
    if do == "exit 9": os._exit(9)
    if do == "killed": os.kill(os.getpid(), signal.SIGKILL)
    return {}

run_leaf(work)
"""


@pytest.fixture
def launched(tmp_path):
    """Starts the launcher with a rank for each thing to do; ends it with the test."""
    (tmp_path / "ranks_of_a_test.py").write_text(RANKS)
    task = Task(
        name="t",
        job=FetchJob(role="model", sources=("s",)),
        inputs={},
        output=str(tmp_path),
        events=f"{tmp_path}/events.jsonl",
        summary=f"{tmp_path}/summary.json",
    )
    (tmp_path / "task.json").write_text(task.model_dump_json())
    started = []

    def start(*do, grace=30):
        path = f"{tmp_path}:{ROOT}:{os.environ.get('PYTHONPATH', '')}"
        environment = {**os.environ, "PYTHONPATH": path, "TORCH_CPP_LOG_LEVEL": "ERROR", **{f"DO_{n}": what for n, what in enumerate(do)}}
        command = [sys.executable, "-m", "entrypoint.run.launch", f"--ranks={len(do)}", f"--grace={grace}", "ranks_of_a_test", str(tmp_path / "task.json")]
        started.append(subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def finish(process):
    _, err = process.communicate(timeout=90)
    return process.returncode, err


def pids(tmp_path, count):
    """Of the ranks, once all are at work."""
    end = time.monotonic() + 90
    while len(found := [int(text) for p in tmp_path.glob("pid-*") if (text := p.read_text())]) < count:
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def test_all_end_well(launched, tmp_path):
    assert finish(launched("nothing", "nothing")) == (0, "")
    assert (tmp_path / "summary.json").exists()


@pytest.mark.parametrize(
    ("do", "code", "words"), [("usage", 2, "caisson: u\n    f\n"), ("machine", 3, "caisson: m\n    f\n"), ("gate", 4, "caisson: g\n    f\n")]
)
def test_a_rank_that_says_why_gives_its_code(launched, do, code, words):
    """And its words are all that is said: no table, no log of the agent."""
    assert finish(launched("waits", do)) == (code, words)


@pytest.mark.parametrize(
    ("ends", "code"),
    [([1, 4], 4), ([-9, 75, 4], 75), ([-15, 9], 9), ([9, 1], 9), ([-15], 1), ([], 0)],
)
def test_a_rank_that_says_why_counts_before_one_that_failed_sooner(ends, code):
    """Not with processes: the agent would end the second before it can say anything, or not, as chance will have it."""
    from entrypoint.run.launch import code_of

    assert code_of([SimpleNamespace(exitcode=exitcode, timestamp=at, local_rank=at) for at, exitcode in enumerate(ends)], memory_kills()) == code


def test_a_rank_that_the_kernel_has_ended_for_memory(capfd):
    """As memory.events tells: one more than when the ranks were started."""
    from entrypoint.run.launch import code_of

    assert code_of([SimpleNamespace(exitcode=-9, timestamp=0, local_rank=1)], memory_kills() - 1) == 3
    assert capfd.readouterr().err.startswith("caisson: the process of local rank 1 was ended by the kernel: the memory ran out\n    give the container or")


def test_a_mistake_of_ours_keeps_its_traceback_and_no_other(launched):
    code, err = finish(launched("waits", "bug"))
    assert code == 1
    assert err.startswith("Traceback") and err.rstrip().endswith("KeyError: 'ours'") and err.count("Traceback") == 1


def test_a_code_without_words_is_passed_on(launched):
    assert finish(launched("waits", "exit 9")) == (9, "")


def test_a_rank_that_is_killed_is_named(launched):
    """With the likely cause and what to do."""
    code, err = finish(launched("waits", "killed"))
    assert code == 1
    assert err.startswith(
        "caisson: the process of local rank 1 was ended by SIGKILL, as the kernel does where memory runs out\n    if nobody else has ended it, give"
    )


def test_ctrl_c_is_left_to_an_executor_that_passes_it_on(launched, tmp_path):
    """Which it says by starting the launcher with SIGINT ignored; ranks that are still importing inherit that and print no traceback."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    process = launched("waits", "stops 0.1")
    signal.signal(signal.SIGINT, before)
    for pid in pids(tmp_path, 2):
        os.kill(pid, signal.SIGINT)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.terminate()
    assert finish(process) == (75, "caisson: i\n    again\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_every_rank_the_time_to_save(launched, tmp_path, number):
    """Also one that comes again in the meantime."""
    process = launched("stops 0.1", "stops 3")
    pids(tmp_path, 2)
    process.send_signal(number)
    time.sleep(0.5)
    process.send_signal(number)
    code, err = finish(process)
    assert (code, err) == (75, "caisson: i\n    again\n" * 2)
    assert {p.name for p in tmp_path.glob("saved-*")} == {"saved-0", "saved-1"}


def test_who_takes_longer_than_the_grace_is_ended(launched, tmp_path):
    process = launched("stops 0.1", "stops 60", grace=2)
    pids(tmp_path, 2)
    process.terminate()
    code, _ = finish(process)
    assert code == 75, "of the one that saved"
    assert [p.name for p in tmp_path.glob("saved-*")] == ["saved-0"]


def test_ranks_end_when_the_launcher_is_killed(launched, tmp_path):
    process = launched("waits", "waits")
    ranks = pids(tmp_path, 2)
    process.kill()
    process.wait()
    end = time.monotonic() + 20
    while left := [pid for pid in ranks if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]:
        assert time.monotonic() < end, left
        time.sleep(0.05)
