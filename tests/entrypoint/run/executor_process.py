"""A leaf that does what its environment says, and the executor over it in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from kept_store import ROOT, plan, step

from entrypoint.run.store import Store
from schemas.plan import Step

LEAF = """
import os, signal, sys, time
from pathlib import Path
from entrypoint.run.leaf import run_leaf
from schemas.errors import *

def work(task, events):
    out, do = Path(task.output), os.environ["DO"]
    (out / "started").touch()
    if do == "usage": raise UsageError("u", "f")
    if do == "machine": raise MachineError("m", "f")
    if do == "gate": raise GateRefused("g", "f")
    if do == "interrupted": raise Interrupted("i", "f")
    if do == "failed": raise StepFailed("s", "f")
    if do == "bug": raise KeyError("ours")
    if do == "full": raise OSError(28, "No space left on device")
    if do == "exit 9": os._exit(9)
    if do == "killed": os.kill(os.getpid(), signal.SIGKILL)
    if do == "slow":  # ten parts; goes on after those that are there
        stop = []
        if os.environ["ON_TERM"] == "says so": signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
        if os.environ["ON_TERM"] == "ignores": signal.signal(signal.SIGTERM, signal.SIG_IGN)
        (out / "pid").write_text(str(os.getpid()))
        print("ready", flush=True)
        for part in range(10):
            if (out / f"part-{part}").exists(): continue
            time.sleep(float(os.environ["PAUSE"]))
            if stop: raise Interrupted("stopped", "again")
            (out / f"part-{part}").write_text(str(os.getpid()))
        (out / "pid").unlink()
    (out / "made").write_text(do)
    events.write("worked")
    return {"did": do}

run_leaf(work)
"""

PARENT = """
import sys
from pathlib import Path
from entrypoint.run.execute import Told, execute
from entrypoint.run.store import Store
from schemas.errors import CaissonError
from schemas.plan import Plan
try:
    execute(Plan.model_validate_json(sys.argv[1]), Store(Path(sys.argv[2])))
except CaissonError as error:
    print(f"caisson: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
except Told as told:
    sys.exit(told.exit_code)
"""


def doing(do: str, **other: Any) -> Step:
    """A step whose leaf does that."""
    environment = {"DO": do, "PYTHONPATH": str(ROOT), "ON_TERM": "says so", "PAUSE": "0.02"}
    changes = other.pop("environment", {})
    return step(argv=("python", "-c", LEAF, "{task}"), environment=environment | changes, **other)


def parent(store: Store, made: Step) -> "subprocess.Popen[str]":
    """The executor in a process of its own; returns when the leaf is at work."""
    return started(PARENT, store, made)


def started(script: str, store: Store, made: Step) -> "subprocess.Popen[str]":
    """A script over a plan and a store; returns when what it starts says that it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, plan(made).model_dump_json(), str(store.root)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def events(store: Store) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (store.logs("n") / "export.jsonl").read_text().splitlines()]


class Recorded:
    """A launch that notes what it is told and lets the leaf be done."""

    def __init__(self) -> None:
        self.calls: list[tuple[Step, tuple[str, ...], dict[str, str], int]] = []

    def __call__(self, made: Step, argv: tuple[str, ...], environment: dict[str, str], lock: int) -> int:
        self.calls.append((made, argv, environment, lock))
        task = json.loads(Path(argv[-1]).read_text())
        (Path(task["output"]) / "a").write_text("1")
        Path(task["summary"]).write_text(json.dumps({"summary": {"s": 1}, "versions": {"v": "2"}}))
        return 0
