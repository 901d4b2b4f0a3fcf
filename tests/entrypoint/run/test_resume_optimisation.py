"""Killed in mid-epoch and gone on with: every optimizer's state, every adapter's start, and what validations have decided so far."""

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("trl")

from forked import run_forked, task_of
from resumed import KEPT

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]

EVERY = "epochs: 3, learning_rate: 1.0e-2, batch_tokens: 480, checkpoint: {every: 2}"
LORA, FULL = "{kind: lora, rank: 8, dropout: 0.2}", "{kind: full}"
KINDS = {
    "adafactor": (FULL, "single", "optimizer: adafactor, schedule: constant, neftune: 5"),
    "muon": (FULL, "single", "optimizer: muon, schedule: wsd, weight_decay: 0.1"),
    "adamw_8bit": (FULL, "single", "optimizer: adamw_8bit, label_smoothing: 0.1"),
    "lora+": ("{kind: lora+, rank: 8, ratio: 4}", "single", "group_by_length: true"),
    "pissa": ("{kind: pissa, rank: 8}", "fsdp", "warmup_steps: 3"),
    "table": ("{kind: lora, rank: 8, modules_to_save: [embed_tokens]}", "single", "warmup: 10%"),
}


def outcome(task):
    """The curve without times, and the bytes of the weights."""
    entries = json.loads((Path(task.output) / "curve.json").read_text())
    kept = [{k: entry[k] for k in KEPT if k in entry} for entry in entries if {"loss", "eval_loss"} & set(entry)]
    return kept, {p.name: p.read_bytes() for p in (Path(task.output) / "weights").glob("*.safetensors")}


@pytest.mark.parametrize(("adapter", "strategy", "train"), KINDS.values(), ids=KINDS)
def test_it_ends_bit_for_bit_the_same(prepared, sources, tmp_path, adapter, strategy, train):
    sections = {"adapter": adapter, "hardware": f"{{strategy: {strategy}}}", "train": f"{{{EVERY}, {train}}}"}
    whole, cut = (task_of(tmp_path / name, prepared, sources, **sections) for name in ("whole", "cut"))
    run_forked(whole)
    run_forked(cut, kill_after=5)
    assert "goes on from step-" in run_forked(cut)
    assert outcome(cut)[0] == outcome(whole)[0]
    assert outcome(cut)[1] == outcome(whole)[1]
    assert len(outcome(whole)[0]) > 20


STOPS = "{every: 3, patience: 2, min_delta: 10, best: true}"
"""No loss falls by 10: the second validation and the third are not better, so training ends at step 9 and step 3 is the best."""


def test_patience_and_the_best_survive_a_kill(prepared, sources, tmp_path):
    sections = {"hardware": "{strategy: ddp}", "train": f"{{{EVERY.replace('every: 2', 'every: 2, keep: 1')}, validation: {STOPS}}}"}
    whole, cut, short = (task_of(tmp_path / name, prepared, sources, **sections) for name in ("whole", "cut", "short"))
    said = run_forked(whole)
    assert "training ends: 2 validations without a better loss; the best was at step 3" in said
    assert "the weights are those of step 3, the best" in said
    run_forked(cut, kill_after=7)
    assert {"step-3", "step-6"} <= {path.name for path in (Path(cut.output) / "checkpoints").glob("step-*")}, "the best stays beside the newest"
    assert "goes on from step-6" in run_forked(cut)
    assert outcome(cut) == outcome(whole)
    steps = [entry["step"] for entry in outcome(whole)[0] if "loss" in entry]
    assert steps == list(range(1, 10))
    assert not (Path(whole.output) / "checkpoints").exists()
    # Its weights are those of a run that ends at step 3 by itself.
    third = short.model_copy(
        update={"job": short.job.model_copy(update={"max_steps": 3, "validation": short.job.validation.model_copy(update={"best": False})})}
    )
    constant = {"optimisation": third.job.optimisation.model_copy(update={"schedule": "constant", "warmup": 0.0}), "strategy": "single", "ranks": 1}
    for name, task in (("short", third), ("whole", whole)):
        job = task.job.model_copy(update=constant)
        folder = tmp_path / f"constant-{name}"
        (folder / "out").mkdir(parents=True)
        run_forked(task.model_copy(update={"job": job, "output": str(folder / "out"), "events": str(folder / "events.jsonl")}))
    short_weights, best_weights = (
        (tmp_path / f"constant-{name}" / "out" / "weights" / "adapter_model.safetensors").read_bytes() for name in ("short", "whole")
    )
    assert short_weights == best_weights
    assert json.loads((tmp_path / "constant-whole" / "out" / "measured.json").read_text())["weights_of_step"] == 3


def test_a_damaged_best_checkpoint_is_said(prepared, sources, tmp_path):
    """Killed behind its end, the best one damaged meanwhile: the last weights are taken, and that is said."""
    task = task_of(tmp_path, prepared, sources, hardware="{strategy: single}", train=f"{{{EVERY}, validation: {STOPS}}}")
    run_forked(task, kill_after=8)
    (file,) = (Path(task.output) / "checkpoints" / "step-3").glob("rank-*.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    said = run_forked(task)
    assert "the checkpoint of step 3, the best, is damaged: the last weights are taken" in said
    assert json.loads((Path(task.output) / "measured.json").read_text())["weights_of_step"] == 9


def test_a_loss_does_not_depend_on_how_the_batch_was_cut(prepared, sources, tmp_path):
    """8 rows at once, 8 times one, twice four: the same rows in each step, and so the same losses; with label smoothing too."""
    task = task_of(tmp_path, prepared, sources, hardware="{strategy: single}", train="{max_steps: 6, learning_rate: 1.0e-2, warmup: 0%, batch_tokens: 480}")
    curves = []
    for smoothing, noise in ((0.0, None), (0.1, None), (0.0, 5.0)):
        for micro, accumulation in ((8, 1), (1, 8), (2, 4))[: 1 if noise else 3]:
            optimisation = task.job.optimisation.model_copy(update={"label_smoothing": smoothing, "neftune": noise})
            job = task.job.model_copy(update={"micro_batch": micro, "accumulation": accumulation, "optimisation": optimisation, "validation_rows": 4})
            out = tmp_path / f"{smoothing}-{noise}-{micro}x{accumulation}"
            out.mkdir()
            run_forked(task.model_copy(update={"job": job, "output": str(out)}))
            curves.append([entry["loss"] for entry in json.loads((out / "curve.json").read_text()) if "loss" in entry])
            shutil.rmtree(out / "weights")
    for first, second, third in (curves[:3], curves[3:6]):
        assert second == pytest.approx(first, abs=1e-5) and third == pytest.approx(first, abs=1e-5)
        assert first[-1] < 0.99 * first[0]
    assert curves[0][0] != pytest.approx(curves[3][0], rel=1e-3), "smoothing does something"
    assert curves[0][0] != pytest.approx(curves[6][0], rel=1e-6), "noise does something"
    assert curves[6][-1] < 0.99 * curves[6][0]
