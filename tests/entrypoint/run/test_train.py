"""Real training through the command line: every adapter and strategy on a tiny model, and what a kill leaves behind."""

import json
import random
import re
import shutil
import signal
import time

import pytest

pytest.importorskip("trl")

from tiny import caisson, fetched_store, kill_tree, rows, run, spec, write_model, write_rows

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Model folder and rows."""
    folder = tmp_path_factory.mktemp("sources")
    return write_model(folder / "model"), write_rows(folder / "rows.jsonl", rows())


@pytest.fixture(scope="module")
def fetched(sources, tmp_path_factory):
    """A store with model, rows and shards, that each test copies nothing of: the train artifacts differ by identity."""
    return fetched_store(tmp_path_factory.mktemp("store"), *sources)


def trained(said, store):
    """The artifact that a run of train names: just sealed, or up to date."""
    return store / re.search(r"tiny/train/[0-9a-f]{16}", said)[0]


def losses(artifact):
    return [round(e["loss"], 6) for e in json.loads((artifact / "curve.json").read_text()) if "loss" in e]


ADAPTERS = {
    "lora": "{kind: lora, rank: 8}",
    "qlora": "{kind: qlora, rank: 8}",
    "full": "{kind: full}",
}


@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS)
def test_each_adapter_learns_and_is_sealed(sources, fetched, tmp_path, adapter):
    path = spec(tmp_path, *sources, adapter=adapter, train="{epochs: 4, learning_rate: 1.0e-2, batch_tokens: 240}")
    said = run("train", path, "--store", fetched, cwd=tmp_path)
    artifact = trained(said, fetched)
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
    again = run("train", path, "--store", fetched, cwd=tmp_path)
    assert "up to date" in again and "step 1/" not in again


STRATEGIES = [("ddp", "lora"), ("zero2", "full"), ("zero3", "lora")]


@pytest.mark.parametrize(("strategy", "kind"), STRATEGIES)
def test_two_processes_learn_as_one_does(sources, fetched, tmp_path, strategy, kind):
    short = "{max_steps: 4, learning_rate: 1.0e-3, batch_tokens: 240, warmup: 0%}"
    single = spec(tmp_path, *sources, adapter=f"{{kind: {kind}}}", train=short)
    alone = losses(trained(run("train", single, "--store", fetched, cwd=tmp_path), fetched))
    several = spec(tmp_path, *sources, adapter=f"{{kind: {kind}}}", train=short, hardware=f"{{strategy: {strategy}}}")
    together = losses(trained(run("train", several, "--store", fetched, cwd=tmp_path), fetched))
    assert len(together) == len(alone) == 4
    # The same rows in each step, summed in another order and in other parts.
    assert together == pytest.approx(alone, rel=1e-4)


def test_killed_at_a_random_point_it_goes_on_and_ends_as_if_it_had_not_been(sources, fetched, tmp_path):
    path = spec(tmp_path, *sources, train="{epochs: 12, learning_rate: 1.0e-3, batch_tokens: 240, checkpoint: {every: 3}}")
    undisturbed, fetched = (shutil.copytree(fetched, tmp_path / name) for name in ("undisturbed", "killed"))
    whole = losses(trained(run("train", path, "--store", undisturbed, cwd=tmp_path), undisturbed))
    process = caisson("train", path, "--store", fetched, cwd=tmp_path)
    partial = fetched / "tiny" / "train"
    deadline = time.monotonic() + 120
    while not list(partial.glob(".partial-*/checkpoints/step-*")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(random.uniform(0, 1.5))
    kill_tree(process)
    said = run("train", path, "--store", fetched, cwd=tmp_path)
    assert "goes on from step-" in said or "up to date" in said or "sealed" in said
    curve = losses(trained(said, fetched))
    assert len(curve) >= len(whole)
    assert curve == whole


@pytest.mark.parametrize("strategy", ["single", "ddp"])
def test_sigterm_seals_a_checkpoint_and_ends_with_75(sources, fetched, tmp_path, strategy):
    fetched = shutil.copytree(fetched, tmp_path / "store")
    path = spec(
        tmp_path, *sources, hardware=f"{{strategy: {strategy}}}", train="{epochs: 50, learning_rate: 1.0e-3, batch_tokens: 240, checkpoint: {every: 1000}}"
    )
    process = caisson("train", path, "--store", fetched, cwd=tmp_path)
    assert process.stdout is not None
    for printed in process.stdout:
        if re.search(r"step \d+/", printed):
            break
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 75, out + err
    assert "its checkpoint is sealed" in err
    (checkpoint,) = (fetched / "tiny" / "train").glob(".partial-*/checkpoints/step-*")
    assert (checkpoint / "manifest.json").is_file()


def test_qlora_and_zero3_are_refused_together(sources, fetched, tmp_path):
    path = spec(tmp_path, *sources, adapter="{kind: qlora}", hardware="{strategy: zero3}")
    said = run("train", path, "--store", fetched, cwd=tmp_path, code=2)
    assert "zero3 cannot shard 4-bit weights" in said and "use strategy: ddp" in said


def test_gradients_that_are_not_numbers_end_the_run_and_name_its_rows(sources, tmp_path):
    from safetensors.torch import load_file, save_file

    model = write_model(tmp_path / "model")
    tensors = load_file(model / "model.safetensors")
    tensors["model.norm.weight"][3] = float("nan")
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    path = spec(tmp_path, model, sources[1], train="{epochs: 2, learning_rate: 1.0e-3, batch_tokens: 240, max_bad_steps: 3}")
    for stage in ("fetch", "prepare"):
        run(stage, path, "--store", tmp_path / "store", cwd=tmp_path)
    said = run("train", path, "--store", tmp_path / "store", cwd=tmp_path, code=4)
    assert "step 1 is skipped: its gradients are not numbers (rows " in said
    assert "not numbers for 3 steps in a row, the last is step 3" in said and "Traceback" not in said
