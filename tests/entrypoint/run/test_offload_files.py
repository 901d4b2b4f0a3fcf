"""Under `hardware.offload: nvme` all that a step needs lies in files without names, as the kernel itself tells of the processes that train."""

import json
import math
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytest.importorskip("trl")

from safetensors import safe_open
from tiny import ROOT, caisson, spec

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]

STATE, COPY = 16, 12
"""Bytes a weight: itself in fp32, two moments and a gradient; itself and the moments once more, for a checkpoint."""

TRUE = {"learns": True, "in files": True, "resumed in files": True, "resumed in memory": True}

SMALL = 0.95
"""Share that is asked for: tensors below a page stay in memory."""


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_two_ranks_compute_the_same_bits_as_in_memory_and_go_on_in_both(tmp_path, stage):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    program = Path(__file__).with_name("offload_process.py")
    given = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))), "OMP_NUM_THREADS": "1"}
    given |= {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    started = [
        subprocess.Popen(
            [sys.executable, str(program), str(stage), str(tmp_path)], env=given | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in (0, 1)
    ]  # fmt: skip
    said = [process.communicate(timeout=200)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert [json.loads((tmp_path / f"told-{rank}.json").read_text()) for rank in (0, 1)] == [TRUE, TRUE]
    assert list((tmp_path / "files").iterdir()) == []


@pytest.mark.long
@pytest.mark.parametrize(("strategy", "weight"), [("zero2", 0), ("zero3", 4)])
def test_all_of_it_lies_in_files_that_nobody_has_to_remove(sources, fetched, tmp_path, strategy, weight):
    train = "{max_steps: 400, batch_tokens: 240, checkpoint: {every: 2}}"
    path = spec(tmp_path, *sources, adapter="{kind: full}", train=train, hardware=f"{{strategy: {strategy}, offload: nvme}}")
    events, seen = fetched / "tiny" / "logs" / "train.jsonl", 0
    before = saved(events)
    process = caisson("train", path, "--store", fetched, cwd=tmp_path)
    try:
        while process.poll() is None:
            if saved(events) >= before + 2:
                seen = max(seen, sum(in_files(child.pid) for child in psutil.Process(process.pid).children(recursive=True)))
                if seen:
                    break
            time.sleep(0.05)
    finally:
        process.terminate()
        said = process.communicate()
    assert process.returncode == 75, said
    folder = next((fetched / "tiny" / "train").glob(".partial-*/checkpoints"))
    assert {path.name.partition("-")[0] for path in folder.iterdir()} == {"step"}, "checkpoints alone are there to be seen"
    trained = weights(next(folder.glob("step-*")))
    expected = (STATE + COPY + weight) * trained
    assert SMALL * expected <= seen <= 1.1 * expected


def saved(events: Path) -> int:
    """Checkpoints that these events tell of, those of earlier runs too."""
    return events.read_text(encoding="utf-8").count('"event": "checkpoint"') if events.exists() else 0


def in_files(pid: int) -> int:
    """Bytes of files of a training that have no name and are memory of a process."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines()
    except OSError:  # it has ended
        return 0
    spans = (line.split()[0].split("-") for line in lines if "/checkpoints/" in line and line.endswith("(deleted)"))
    return sum(int(high, 16) - int(low, 16) for low, high in spans)


def weights(checkpoint: Path) -> int:
    """Elements that are trained."""
    found = 0
    for file in checkpoint.glob("rank-*.safetensors"):
        with safe_open(file, framework="pt") as opened:
            found += sum(math.prod(opened.get_slice(key).get_shape()) for key in opened.keys() if key.startswith("weight/"))  # noqa: SIM118
    return found
