"""A run that is killed and goes on ends as one that was never stopped: every loss, every bit of the weights."""

import json
import shutil
import time

import pytest

pytest.importorskip("trl")

from resumed import artifact_of, assert_exact, kill_after, outcome
from tiny import caisson, run, spec

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]

SETTINGS = "{epochs: 3, learning_rate: 1.0e-2, batch_tokens: 240, checkpoint: {every: 2}}"
KINDS = {
    "single-lora-dropout": ("{kind: lora, rank: 8, dropout: 0.2}", "{strategy: single}"),
    "single-qlora-dropout": ("{kind: qlora, rank: 8, dropout: 0.2}", "{strategy: single}"),
    "single-full": ("{kind: full}", "{strategy: single}"),
    "ddp-lora-dropout": ("{kind: lora, rank: 8, dropout: 0.2}", "{strategy: ddp}"),
    "zero1-full": ("{kind: full}", "{strategy: zero1}"),
    "zero2-full": ("{kind: full}", "{strategy: zero2}"),
    "zero2-offload-full": ("{kind: full}", "{strategy: zero2, offload: cpu}"),
    "zero3-offload-full": ("{kind: full}", "{strategy: zero3, offload: cpu}"),
    "zero3-offload-lora-dropout": ("{kind: lora, rank: 8, dropout: 0.2}", "{strategy: zero3, offload: cpu}"),
    "zero2-nvme-full": ("{kind: full}", "{strategy: zero2, offload: nvme}"),
    "zero3-nvme-full": ("{kind: full}", "{strategy: zero3, offload: nvme}"),
    "zero3-nvme-lora-dropout": ("{kind: lora, rank: 8, dropout: 0.2}", "{strategy: zero3, offload: nvme}"),
    "zero3-lora-dropout": ("{kind: lora, rank: 8, dropout: 0.2}", "{strategy: zero3}"),
    "zero3-full": ("{kind: full}", "{strategy: zero3}"),
    "fsdp-lora-dropout": ("{kind: lora, rank: 8, dropout: 0.2}", "{strategy: fsdp}"),
    "fsdp-full": ("{kind: full}", "{strategy: fsdp}"),
}


LONG = {
    "zero1-full", "zero2-offload-full", "zero3-full", "zero3-offload-full", "zero3-lora-dropout", "fsdp-lora-dropout",
    "single-full", "ddp-to-single", "zero2-to-ddp", "fsdp-to-single", "single-to-zero3",
}  # fmt: skip
"""Beside which another of the same engine, or the same adapter, is always run; so is offload to files beside offload to memory."""


def each(cases):
    """As pytest takes them."""
    return [pytest.param(*values, id=name, marks=[pytest.mark.long] if name in LONG or "nvme" in name else []) for name, values in cases.items()]


@pytest.mark.parametrize(("adapter", "hardware"), each(KINDS))
def test_killed_in_mid_epoch_it_ends_bit_for_bit_the_same(sources, fetched, tmp_path, adapter, hardware):
    path = spec(tmp_path, *sources, adapter=adapter, hardware=hardware, train=SETTINGS)
    assert_exact(path, fetched, tmp_path)


PACKED = "{{train: [{{source: {rows}}}], validation: 10%, packing: true, pack_length: 100}}"


@pytest.mark.parametrize("strategy", ["single", pytest.param("ddp", marks=pytest.mark.long)])
def test_packed_it_ends_bit_for_bit_the_same(sources, fetched, tmp_path, strategy):
    path = spec(
        tmp_path, *sources, adapter=KINDS["single-lora-dropout"][0], hardware=f"{{strategy: {strategy}}}", train=SETTINGS,
        data=PACKED.format(rows=sources[1]),
    )  # fmt: skip
    assert_exact(path, fetched, tmp_path)


MOVES = {
    "zero3-nvme-to-ddp": ("{kind: full}", "zero3, offload: nvme", "ddp"),
    "single-to-zero2-nvme": ("{kind: lora, rank: 8}", "single", "zero2, offload: nvme"),
    "ddp-to-single": ("{kind: lora, rank: 8}", "ddp", "single"),
    "single-to-zero3": ("{kind: lora, rank: 8}", "single", "zero3"),
    "zero2-to-ddp": ("{kind: full}", "zero2", "ddp"),
    "zero3-to-fsdp": ("{kind: full}", "zero3", "fsdp"),
    "fsdp-to-single": ("{kind: lora, rank: 8}", "fsdp", "single"),
}


@pytest.mark.parametrize(("adapter", "first", "then"), each(MOVES))
def test_killed_on_one_engine_it_goes_on_with_another(sources, fetched, tmp_path, adapter, first, then):
    """Loss stream within 1e-3 of an undisturbed run: sums are taken in another order. How often it is saved may change too."""
    before = spec(tmp_path, *sources, adapter=adapter, hardware=f"{{strategy: {first}}}", train=SETTINGS)
    whole, cut = (shutil.copytree(fetched, tmp_path / name) for name in ("whole", "cut"))
    run("train", before, "--store", whole, cwd=tmp_path)
    kill_after(before, cut, tmp_path, steps=5)
    after = spec(tmp_path, *sources, adapter=adapter, hardware=f"{{strategy: {then}}}", train=SETTINGS.replace("every: 2", "every: 3"))
    said = run("train", after, "--store", cut, cwd=tmp_path)
    assert "goes on from step-" in said, said
    first, then = (name.partition(",")[0] for name in (first, then))
    assert f"strategy: {first} then, {then} now" in " ".join(said.split()), said
    curve, expected = outcome(cut)[0], outcome(whole)[0]
    assert [(e["step"], e["epoch"]) for e in curve] == [(e["step"], e["epoch"]) for e in expected]
    for name in ("loss", "eval_loss"):
        assert [e[name] for e in curve if name in e] == pytest.approx([e[name] for e in expected if name in e], abs=1e-3)
    segments = json.loads((artifact_of(cut) / "manifest.json").read_text())["summary"]["segments"]
    assert [s["strategy"] for s in segments] == [first, then]
    assert segments[1]["after_step"] >= 4


def test_with_another_number_of_rows_a_step_it_counts_on_and_ends_where_the_epochs_end(sources, fetched, tmp_path):
    """Three rows are wanted: three alone, four by two processes."""
    settings = "{epochs: 2, learning_rate: 1.0e-2, batch_tokens: 126, checkpoint: {every: 2}}"
    store = shutil.copytree(fetched, tmp_path / "cut")
    kill_after(spec(tmp_path, *sources, hardware="{strategy: single}", train=settings), store, tmp_path, steps=5)
    said = run("train", spec(tmp_path, *sources, hardware="{strategy: ddp}", train=settings), "--store", store, cwd=tmp_path)
    assert "goes on from step-" in said, said
    trained = [(entry["step"], entry["epoch"]) for entry in outcome(store)[0] if "loss" in entry]
    first, second = json.loads((artifact_of(store) / "manifest.json").read_text())["summary"]["segments"]
    assert [first["micro_batch"] * first["accumulation"], 2 * second["micro_batch"] * second["accumulation"]] == [3, 4]
    change, rows_an_epoch = second["after_step"], 62
    seen = [3 * step if step <= change else 3 * change + 4 * (step - change) for step, _ in trained]
    assert [step for step, _ in trained] == list(range(1, len(trained) + 1))
    inside = [(rows, epoch) for rows, (_, epoch) in zip(seen, trained, strict=True) if epoch < 1]
    assert [epoch * rows_an_epoch for _, epoch in inside] == pytest.approx([rows for rows, _ in inside])
    assert trained[-1][1] == 2.0


def test_stopped_after_its_last_step_it_takes_no_other(sources, fetched, tmp_path):
    """The last checkpoint is sealed, the weights are not written yet: what is left is a validation in mid-epoch."""
    path = spec(tmp_path, *sources, train="{max_steps: 5, epochs: 3, learning_rate: 1.0e-2, warmup: 0%, batch_tokens: 240, checkpoint: {every: 2}}")
    whole, cut = (shutil.copytree(fetched, tmp_path / name) for name in ("whole", "cut"))
    run("train", path, "--store", whole, cwd=tmp_path)
    kill_after(path, cut, tmp_path, steps=1)
    (partial,) = (cut / "tiny" / "train").glob(".partial-*")
    (partial / "weights.draft").write_text("in the way")
    process = caisson("train", path, "--store", cut, cwd=tmp_path)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 1 and "weights.draft" in err, out + err
    (partial / "weights.draft").unlink()
    said = run("train", path, "--store", cut, cwd=tmp_path)
    assert "goes on from step-5" in said, said
    assert outcome(cut) == outcome(whole)
    assert outcome(whole)[0][-1]["epoch"] % 1, "stopped in mid-epoch"


def test_stopped_at_the_end_of_an_epoch_it_validates_when_it_goes_on(sources, fetched, tmp_path):
    """A stop leaves no time for a validation; each epoch is one step here, so that the stop falls onto an end."""
    path = spec(tmp_path, *sources, train="{epochs: 24, learning_rate: 1.0e-3, batch_tokens: 100000, checkpoint: {every: 1000}}")
    whole, cut = (shutil.copytree(fetched, tmp_path / name) for name in ("whole", "cut"))
    run("train", path, "--store", whole, cwd=tmp_path)
    process = caisson("train", path, "--store", cut, cwd=tmp_path)
    log = cut / "tiny" / "logs" / "train.jsonl"
    while not log.exists() or log.read_text().count('"event": "step"') < 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.terminate()
    out, err = process.communicate(timeout=240)
    assert process.returncode == 75, out + err
    events = [json.loads(line) for line in log.read_text().splitlines()]
    stopped = max(e["step"] for e in events if e["event"] == "step")
    assert max(e["step"] for e in events if e["event"] == "validated") == stopped - 1
    run("train", path, "--store", cut, cwd=tmp_path)
    assert outcome(cut) == outcome(whole)
    losses = [e["loss"] for e in outcome(cut)[0] if "loss" in e]
    (mean,) = [e["train_loss"] for e in json.loads((artifact_of(cut) / "curve.json").read_text()) if "train_loss" in e]
    assert mean == pytest.approx(sum(losses) / len(losses)), "of the whole run, not of its last stretch"


def test_what_others_left_among_the_checkpoints_is_not_gone_on_from(sources, fetched, tmp_path):
    """A whole checkpoint of another training, files that no manifest lists, and names that are nearly ours."""
    path = spec(tmp_path, *sources, hardware="{strategy: single}", train=SETTINGS)
    store = shutil.copytree(fetched, tmp_path / "cut")
    kill_after(path, store, tmp_path, steps=5)
    (checkpoints,) = (store / "tiny" / "train").glob(".partial-*/checkpoints")
    newest = max(checkpoints.glob("step-*"), key=lambda found: int(found.name.removeprefix("step-")))
    (newest / "rank-00001.safetensors").write_bytes((newest / "rank-00000.safetensors").read_bytes())
    (newest / "rank-00009.safetensors").touch()
    other = shutil.copytree(newest, checkpoints / "step-90") / "manifest.json"
    other.write_text(other.read_text().replace(json.loads(other.read_text())["identity"], "f" * 16))
    (checkpoints / "step-91").symlink_to(newest)
    (checkpoints / "step-92").touch()
    for name in ("step-²", "step-10.mine"):
        (checkpoints / name).mkdir()
    (checkpoints / ".partial-step-11").touch()
    said = run("train", path, "--store", store, cwd=tmp_path)
    assert "passes over step-90: it belongs to another training" in said, said
    assert f"goes on from {newest.name}\n" in said, said
    assert artifact_of(store)
