"""A run that is killed and goes on, beside one that nobody disturbs."""

import json
import shutil
import time
from pathlib import Path

from tiny import caisson, kill_tree, run

KEPT = ("step", "epoch", "loss", "grad_norm", "learning_rate", "eval_loss", "num_tokens")


def artifact_of(store: Path) -> Path:
    """The only sealed train artifact."""
    (artifact,) = (p for p in (store / "tiny" / "train").iterdir() if not p.name.startswith("."))
    return artifact


def outcome(store: Path) -> tuple[list[dict], dict[str, bytes]]:
    """The curve without times, and the bytes of the weights."""
    artifact = artifact_of(store)
    entries = json.loads((artifact / "curve.json").read_text())
    curve = [{k: entry[k] for k in KEPT if k in entry} for entry in entries if {"loss", "eval_loss"} & set(entry)]
    return curve, {p.name: p.read_bytes() for p in (artifact / "weights").glob("*.safetensors")}


def kill_after(path: Path, store: Path, cwd: Path, steps: int) -> None:
    """Start a run and kill -9 all its processes once so many steps are recorded."""
    process = caisson("train", path, "--store", store, cwd=cwd)
    events = store / "tiny" / "logs" / "train.jsonl"
    deadline = time.monotonic() + 240
    while not events.exists() or events.read_text().count('"event": "step"') < steps:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    kill_tree(process)


def assert_exact(path: Path, fetched: Path, tmp_path: Path) -> list[dict]:
    """Killed in mid-epoch and gone on with, every loss and every bit of the weights are those of a run that was never stopped; its curve."""
    whole, cut = (shutil.copytree(fetched, tmp_path / name) for name in ("whole", "cut"))
    run("train", path, "--store", whole, cwd=tmp_path)
    kill_after(path, cut, tmp_path, steps=5)
    said = run("train", path, "--store", cut, cwd=tmp_path)
    assert "goes on from step-" in said, said
    curve, weights = outcome(cut)
    expected_curve, expected_weights = outcome(whole)
    assert curve == expected_curve
    assert weights == expected_weights
    return curve
