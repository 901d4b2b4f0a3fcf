"""Real allocations that fail in the middle of real runs: what is repeated, what it changes, and that a kill changes nothing more."""

import json

import pytest

pytest.importorskip("trl")

from resumed import artifact_of, assert_exact
from test_plugged import with_code
from tiny import run

pytestmark = [pytest.mark.image, pytest.mark.timeout(900)]

LOSS = """
import os

import torch

calls = 0


def hungry(outputs, labels, num_items_in_batch, *, rows: int, call: int, kind: str = "system", rank: int = 0):
    global calls
    calls += 1
    shifted = labels[:, 1:].flatten()
    count = num_items_in_batch if num_items_in_batch is not None else (shifted != -100).sum()  # a validation is told no number
    found = torch.nn.functional.cross_entropy(outputs.logits[:, :-1].flatten(0, 1).float(), shifted, reduction="sum", ignore_index=-100) / count
    if torch.is_grad_enabled() and len(labels) > rows and calls >= call and int(os.environ.get("RANK", "0")) == rank:
        if os.environ.get("WORLD_SIZE", "1") == "1":  # several would add up their gradients here
            found.backward(retain_graph=True)  # half-way through the pass: there are gradients that must not stay
        if kind == "system":
            torch.empty(2**60, dtype=torch.uint8)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    return found
"""
TRAIN = "{epochs: 2, learning_rate: 1.0e-2, batch_tokens: 400, checkpoint: {every: 3}}"


def plugins(tmp_path, options):
    (tmp_path / "hungry.py").write_text(LOSS)
    return f"{{loss: {tmp_path}/hungry.py:hungry, options: {{loss: {{{options}}}}}}}"


def events(store):
    return [json.loads(line) for line in (store / "tiny" / "logs" / "train.jsonl").read_text().splitlines()]


def test_one_process_repeats_the_step_and_goes_on_lowered_after_a_kill(sources, prepared, tmp_path):
    (tmp_path / "fed").mkdir()
    path, store = with_code(sources, prepared, tmp_path / "fed", plugins(tmp_path, "rows: 64, call: 1"), train=TRAIN)
    run("train", path, "--store", store, cwd=tmp_path)
    fed = [entry for entry in json.loads((artifact_of(store) / "curve.json").read_text()) if "loss" in entry]
    path, store = with_code(sources, prepared, tmp_path, plugins(tmp_path, "rows: 3, call: 3"), train=TRAIN)
    curve = [entry for entry in assert_exact(path, store, tmp_path) if "loss" in entry]
    planned = json.loads((artifact_of(tmp_path / "whole") / "manifest.json").read_text())["job"]["micro_batch"]
    assert planned > 6, "else there is nothing to halve twice"
    assert len(curve) == len(fed)
    for lowered, whole in zip(curve, fed, strict=True):
        assert lowered["loss"] == pytest.approx(whole["loss"], rel=2e-4)
        assert lowered["num_tokens"] == whole["num_tokens"], "tokens of the failed pass are not counted"
        assert lowered["learning_rate"] == whole["learning_rate"]
    found = [event for event in events(tmp_path / "whole") if event["event"] == "lowered"]
    assert {event["step"] for event in found} == {3}
    assert next(event["before"] for event in found) == planned and found[-1]["rows_at_once"] <= 3
    again = [event["event"] for event in events(tmp_path / "cut")]
    assert "lowered" not in again[again.index("resumed") :], "what was learned is in the checkpoint"


def test_one_row_is_the_end(sources, prepared, tmp_path):
    path, store = with_code(sources, prepared, tmp_path, plugins(tmp_path, "rows: 0, call: 2, kind: gpu"), train=TRAIN)
    said = run("train", path, "--store", store, cwd=tmp_path, code=3)
    assert "the memory ran out at step 2 with one row at once (row " in said
    assert "gradient_checkpointing: true" in said and "Traceback" not in said


def test_several_processes_end_and_the_same_command_goes_on_with_fewer(sources, prepared, tmp_path):
    """The second rank fails alone, the first waits for it inside the step."""
    hungry = plugins(tmp_path, "rows: 2, call: 5, kind: gpu, rank: 1")
    path, store = with_code(sources, prepared, tmp_path, hungry, train=TRAIN, hardware="{strategy: ddp}")
    said = run("train", path, "--store", store, cwd=tmp_path, code=75)
    assert "rows are noted" in said or "are noted for this run" in said
    said = run("train", path, "--store", store, cwd=tmp_path, code=None)
    while "are noted for this run" in said:
        said = run("train", path, "--store", store, cwd=tmp_path, code=None)
    assert "rows in place of" in said and "goes on from step-3" in said
    manifest = json.loads((artifact_of(store) / "manifest.json").read_text())
    job, last = manifest["job"], manifest["summary"]["segments"][-1]
    assert last["micro_batch"] <= 2
    assert last["micro_batch"] * last["accumulation"] == job["micro_batch"] * job["accumulation"]
