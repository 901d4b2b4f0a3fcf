"""Trainings whose rows are prepared meanwhile: the program itself, started, killed, stopped and refused."""

import json
import shutil
import signal
import time

import psutil
import pytest

pytest.importorskip("trl")

from gate_run import attempt
from resumed import artifact_of, assert_exact, kill_after, outcome
from tiny import caisson, rows, run, spec, write_rows

from entrypoint.run.row_stream import RowStream
from schemas.errors import MachineError
from schemas.job import Task

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]

__all__ = ["attempt"]
ROWS = 300
DATA = "{{train: [{{source: {0}}}], validation: 0%, packing: {packing}, streaming: true, max_length: 128, part_tokens: 1500}}"
TRAIN = "{max_steps: 40, learning_rate: 3.0e-3, batch_tokens: 500, checkpoint: {every: 3}}"


def streamed(folder, model, jsonl, packing="true", **changes):
    """A spec that streams these rows."""
    return spec(folder, model, jsonl, **{"data": DATA.format(jsonl, packing=packing), "train": TRAIN, **changes})


@pytest.fixture(scope="module")
def model(sources):
    return sources[0]


def begun(folder, model, found=None, **changes):
    """A spec and a store in which its first part is prepared."""
    path = streamed(folder, model, write_rows(folder / "rows.jsonl", found or rows(ROWS)), **changes)
    for stage in ("fetch", "prepare"):
        run(stage, path, "--store", folder / "store", cwd=folder)
    return path, folder / "store"


def test_killed_and_gone_on_with_it_ends_bit_for_bit_the_same(tmp_path, model):
    path, store = begun(tmp_path, model)
    prepared = json.loads(next((store / "tiny" / "prepared").glob("*/report.json")).read_text())
    assert 0 < prepared["train"]["rows"] < ROWS / 3, "prepare ends with the first part"
    curve = assert_exact(path, store, tmp_path)
    assert len([e for e in curve if "loss" in e]) == 40
    artifact = artifact_of(tmp_path / "cut")
    report = json.loads((artifact / "report.json").read_text())
    assert report["ended"] and report["train"]["rows"] == ROWS and report["parts"] > 4, "what was trained on is told"
    assert not (artifact / "stream").exists()
    assert "up to date" in run("train", path, "--store", tmp_path / "cut", cwd=tmp_path)


def test_losses_of_two_processes_are_those_of_one(tmp_path, model):
    path, store = begun(tmp_path, model, packing="false")
    single, double = (shutil.copytree(store, tmp_path / name) for name in ("single", "double"))
    run("train", path, "--store", single, cwd=tmp_path)
    run("train", streamed(tmp_path, model, tmp_path / "rows.jsonl", "false", hardware="{strategy: ddp}"), "--store", double, cwd=tmp_path)
    one, two = ([e["loss"] for e in outcome(s)[0] if "loss" in e] for s in (single, double))
    assert len(one) == 40 and two == pytest.approx(one, rel=1e-5)


@pytest.mark.long
def test_a_damaged_part_is_prepared_anew(tmp_path, model):
    path, store = begun(tmp_path, model)
    whole, cut = (shutil.copytree(store, tmp_path / name) for name in ("whole", "cut"))
    run("train", path, "--store", whole, cwd=tmp_path)
    kill_after(path, cut, tmp_path, steps=8)
    (shard,) = (cut / "tiny" / "train").glob(".partial-*/stream/train-00001.safetensors")
    shard.write_bytes(shard.read_bytes()[:-4])
    assert "goes on from step-" in run("train", path, "--store", cut, cwd=tmp_path)
    assert outcome(cut) == outcome(whole)


@pytest.mark.long
def test_stopped_it_exits_75_and_goes_on(tmp_path, model):
    path, store = begun(tmp_path, model)
    process = caisson("train", path, "--store", store, cwd=tmp_path)
    events = store / "tiny" / "logs" / "train.jsonl"
    deadline = time.monotonic() + 240
    while not events.exists() or '"event": "step"' not in events.read_text():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 75, out + err
    assert "goes on from step-" in run("train", path, "--store", store, cwd=tmp_path)


def test_stopped_while_it_waits_for_rows_it_loses_no_step(tmp_path, model):
    path, store = begun(tmp_path, model)
    whole, cut = (shutil.copytree(store, tmp_path / name) for name in ("whole", "cut"))
    run("train", path, "--store", whole, cwd=tmp_path)
    process = caisson("train", path, "--store", cut, cwd=tmp_path)
    (rows_process,) = wait_for(lambda: [p for p in psutil.Process(process.pid).children(recursive=True) if "entrypoint.run.prepare" in p.cmdline()], process)
    rows_process.suspend()
    events = cut / "tiny" / "logs" / "train.jsonl"
    steps = lambda: events.read_text().count('"event": "step"') if events.exists() else 0  # noqa: E731
    wait_for(steps, process)
    trainer = next(p for p in psutil.Process(process.pid).children(recursive=True) if "entrypoint.run.train" in p.cmdline())
    spent = -1.0
    while trainer.cpu_times().user > spent + 0.1:  # else it looks for the next part five times a second, and computes nothing
        spent = trainer.cpu_times().user
        time.sleep(5)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 75 and "while it waited for rows" in out + err, out + err
    assert f"goes on from step-{steps()}" in run("train", path, "--store", cut, cwd=tmp_path)
    assert outcome(cut) == outcome(whole)


def wait_for(found, process):
    """What a function finds, once it finds something."""
    deadline = time.monotonic() + 240
    while not (given := found()):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.02)
    return given


def test_bad_rows_far_behind_end_the_training_with_4(tmp_path, model):
    path, store = begun(tmp_path, model, found=[*rows(ROWS), *[{"messages": []}] * 60])
    said = run("train", path, "--store", store, cwd=tmp_path, code=4)
    assert "`messages` is empty" in said and "rows behind those that are trained on are refused" in said, said
    assert "Traceback" not in said


@pytest.mark.parametrize("cut", ["train-00000.safetensors", "part-00000.json"])
def test_a_first_part_whose_copy_was_cut_off_is_copied_again(attempt, tmp_path, cut):
    _, prepared = attempt(rows(20), streaming="head", validation_share=0.0)
    task = Task.model_validate_json((tmp_path / "task.json").read_text())
    output = tmp_path / "trained"
    (output / "stream").mkdir(parents=True)
    (output / "stream" / cut).write_bytes((prepared / cut).read_bytes()[:-7])
    stream = RowStream(task.model_copy(update={"output": str(output), "inputs": {**task.inputs, "prepared": str(prepared)}}), task.job)
    stream.begin()
    assert stream.process is None, "nothing is left to prepare"
    assert (output / "stream" / cut).read_bytes() == (prepared / cut).read_bytes()
    (prepared / cut).write_bytes(b"")
    shutil.rmtree(output / "stream")
    with pytest.raises(MachineError, match=f"the first part of the streamed rows is damaged: {prepared}"):
        stream.begin()
