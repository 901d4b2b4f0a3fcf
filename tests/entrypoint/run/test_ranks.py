"""Which process this is, by torchrun's variables."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from entrypoint.run.ranks import LAUNCHER, is_first, is_on_first_node, local_rank, rank

ROOT = Path(__file__).resolve().parents[3]


def test_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert (rank(), local_rank(), is_first()) == (0, 0, True)


@pytest.mark.parametrize(("number", "first"), [("0", True), ("1", False), ("11", False)])
def test_under_torchrun(monkeypatch: pytest.MonkeyPatch, number: str, first: bool) -> None:
    monkeypatch.setenv("RANK", number)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert (rank(), local_rank(), is_first()) == (int(number), 3, first)


@pytest.mark.parametrize(("node", "first"), [(None, True), ("0", True), ("1", False)])
def test_which_node(monkeypatch: pytest.MonkeyPatch, node: str | None, first: bool) -> None:
    monkeypatch.delenv("GROUP_RANK", raising=False)
    if node is not None:
        monkeypatch.setenv("GROUP_RANK", node)
    assert is_on_first_node() is first


RANK = "from entrypoint.run.ranks import end_with_launcher; end_with_launcher(); import time; print('up', flush=True); time.sleep(60)"
PARENT = f"""
import os, subprocess, sys
rank = subprocess.Popen([sys.executable, "-c", {RANK!r}], env={{**os.environ, {LAUNCHER!r}: str(os.getpid())}}, start_new_session=True, stdout=subprocess.PIPE)
rank.stdout.readline()
print(rank.pid, flush=True)
rank.wait()
"""


def test_a_rank_ends_when_its_launcher_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    end = time.monotonic() + 20
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_rank_whose_launcher_is_gone_already_ends_at_once() -> None:
    environment = {**os.environ, LAUNCHER: str(os.getpid() + 1)}
    said = subprocess.run([sys.executable, "-c", RANK], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30)
    assert (said.returncode, said.stdout) == (1, "")


def test_leaving_passes_on_the_code_and_what_was_printed() -> None:
    code = "from entrypoint.run.ranks import leave; print('said', end=''); leave(4)"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (said.returncode, said.stdout) == (4, "said")
