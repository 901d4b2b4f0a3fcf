"""Real training through the command line: every adapter and strategy on a tiny model, and what a kill leaves behind."""

import json
import random
import re
import shutil
import signal
import time
from itertools import pairwise

import pytest

pytest.importorskip("trl")

from tiny import caisson, kill_tree, run, spec, write_model
from tracked import trained

from schemas.facts import DISK_SPEED, DiskSpeed

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]


def losses(artifact):
    return [round(e["loss"], 6) for e in json.loads((artifact / "curve.json").read_text()) if "loss" in e]


ADAPTERS = {
    "lora": "{kind: lora, rank: 8}",
    "qlora": "{kind: qlora, rank: 8}",
    "full": "{kind: full}",
}


@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS)
def test_each_adapter_learns_and_is_sealed(few_sources, store, tmp_path, adapter):
    path = spec(tmp_path, *few_sources, adapter=adapter, train="{epochs: 4, learning_rate: 1.0e-2, batch_tokens: 240}")
    said = run("train", path, "--store", store, cwd=tmp_path)
    artifact = trained(said, store)
    curve = losses(artifact)
    assert sum(curve[-3:]) < 0.9 * sum(curve[:3]), curve
    assert "left" in said and "tok/s" in said  # progress with an estimate
    weights = {p.name for p in (artifact / "weights").iterdir()}
    assert ("model.safetensors" if "full" in adapter else "adapter_model.safetensors") in weights
    assert {"tokenizer.json", "chat_template.jinja"} <= weights
    assert not any(name.endswith((".bin", ".pt", ".pth")) for name in weights)
    assert list((artifact / "tensorboard").glob("events*"))
    summary = json.loads((artifact / "manifest.json").read_text())["summary"]
    assert summary["steps"] == len(curve) and summary["validation_loss"] > 0
    again = run("train", path, "--store", store, cwd=tmp_path)
    assert "up to date" in again and "step 1/" not in again
    assert re.search(r"memory \d\.\d of \d\.\d GiB planned, step \d", said)
    events = [json.loads(line) for line in (store / "tiny" / "logs" / "train.jsonl").read_text().splitlines()]
    found = [event for event in events if event["event"] == "measured"]
    assert [event["step"] for event in found] == [5, len(curve)]
    assert 0.2 < found[-1]["memory_gib"] < 3 * found[-1]["planned_memory_gib"] and found[-1]["step_seconds"] > 0
    # The plan names the setting as the run did.
    planned = json.loads(run("plan", path, "--store", store, "--json", cwd=tmp_path).partition("\n}\n")[0] + "}")
    (train,) = (step for step in planned["steps"] if step["stage"] == "train")
    assert train["job"]["predicted"]["step_seconds"] == pytest.approx(found[-1]["step_seconds"], abs=1e-4)
    assert [line["value"] for line in planned["decisions"] if line["field"] == "measured before"]


def test_killed_at_a_random_point_it_goes_on_and_ends_as_if_it_had_not_been(few_sources, store, tmp_path):
    path = spec(tmp_path, *few_sources, train="{epochs: 12, learning_rate: 1.0e-3, batch_tokens: 240, checkpoint: {every: 3}}")
    undisturbed = shutil.copytree(store, tmp_path / "undisturbed")
    whole = losses(trained(run("train", path, "--store", undisturbed, cwd=tmp_path), undisturbed))
    process = caisson("train", path, "--store", store, cwd=tmp_path)
    partial = store / "tiny" / "train"
    deadline = time.monotonic() + 120
    while not list(partial.glob(".partial-*/checkpoints/step-*")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(random.uniform(0, 1.5))
    kill_tree(process)
    said = run("train", path, "--store", store, cwd=tmp_path)
    assert "goes on from step-" in said or "up to date" in said or "sealed" in said
    curve = losses(trained(said, store))
    assert len(curve) >= len(whole)
    assert curve == whole


@pytest.mark.parametrize("strategy", ["single", "ddp"])
def test_sigterm_seals_a_checkpoint_and_ends_with_75(few_sources, store, tmp_path, strategy):
    path = spec(
        tmp_path, *few_sources, hardware=f"{{strategy: {strategy}}}", train="{epochs: 50, learning_rate: 1.0e-3, batch_tokens: 240, checkpoint: {every: 1000}}"
    )
    process = caisson("train", path, "--store", store, cwd=tmp_path)
    assert process.stdout is not None
    for printed in process.stdout:
        if re.search(r"step \d+/", printed):
            break
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 75, out + err
    assert err.count("its checkpoint is sealed") == 1, "one process of a machine says it for all"
    (checkpoint,) = (store / "tiny" / "train").glob(".partial-*/checkpoints/step-*")
    assert (checkpoint / "manifest.json").is_file()


@pytest.mark.parametrize("strategy", ["single", "ddp"])
def test_automatic_checkpoints_keep_apart_what_a_slow_disk_writes(few_sources, store, tmp_path, strategy):
    """By steps alone about twenty would be due; the store remembers a disk on which writing one takes longer than the steps between."""
    (store / DISK_SPEED).write_text(DiskSpeed(gib_per_second=1.0e-3, measured_at=time.time()).model_dump_json())
    train = "{epochs: 20, learning_rate: 1.0e-3, batch_tokens: 240}"
    path = spec(tmp_path, *few_sources, adapter="{kind: lora, rank: 64}", hardware=f"{{strategy: {strategy}}}", train=train)
    said = run("train", path, "--store", store, cwd=tmp_path)
    apart = json.loads((trained(said, store) / "manifest.json").read_text())["job"]["checkpoint_apart"]
    events = [json.loads(line) for line in (store / "tiny" / "logs" / "train.jsonl").read_text().splitlines()]
    at = {e["step"]: e["at"] for e in events if e["event"] == "step"}
    saved = [e["step"] for e in events if e["event"] == "checkpoint"]
    assert len(at) > 100 and apart > 1
    # A step is recorded a little after its save has begun: half of the distance is enough to tell, and without it there is a tenth.
    assert all(at[later] - at[earlier] > apart / 2 for earlier, later in pairwise(saved)), (saved, apart)


def test_qlora_and_zero3_are_refused_together(few_sources, store, tmp_path):
    path = spec(tmp_path, *few_sources, adapter="{kind: qlora}", hardware="{strategy: zero3}")
    said = run("train", path, "--store", store, cwd=tmp_path, code=2)
    assert "zero3 cannot shard 4-bit weights" in said and "use strategy: ddp" in said


def test_gradients_that_are_not_numbers_end_the_run_and_name_its_rows(few_sources, tmp_path):
    from safetensors.torch import load_file, save_file

    model = write_model(tmp_path / "model")
    tensors = load_file(model / "model.safetensors")
    tensors["model.norm.weight"][3] = float("nan")
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    path = spec(tmp_path, model, few_sources[1], train="{epochs: 2, learning_rate: 1.0e-3, batch_tokens: 240, max_bad_steps: 3}")
    for stage in ("fetch", "prepare"):
        run(stage, path, "--store", tmp_path / "store", cwd=tmp_path)
    said = run("train", path, "--store", tmp_path / "store", cwd=tmp_path, code=4)
    assert "step 1 is skipped: its gradients are not numbers (rows " in said
    assert "not numbers for 3 steps in a row, the last is step 3" in said and "Traceback" not in said
