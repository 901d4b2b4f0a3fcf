"""All four trackers beside a real training: what each wrote is what curve.json says, also after a kill; one that fails stops nothing."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("trl")

from tiny import caisson, run, spec
from tracked import TRAIN, curve, events, read_mlflow, read_swanlab, read_tensorboard, read_wandb, trained

from entrypoint.run.tracker_clients import MlflowClient, Run
from schemas.track import TrackerJob

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]

ALL = "[tensorboard, wandb, swanlab, mlflow]"
NAMES = {"loss", "learning_rate", "grad_norm", "num_tokens", "tokens_per_second", "peak_memory_gib"}
TOTALS = {"train/train_runtime", "train/train_samples_per_second", "train/train_steps_per_second", "train/train_loss"}


def check(artifact):
    """Every tracker has every row of curve.json once."""
    wanted = curve(artifact)
    assert {f"train/{name}" for name in NAMES} | {"eval/loss"} <= set(wanted)
    wandb, ident, config = read_wandb(artifact)
    swanlab, same = read_swanlab(artifact)
    mlflow, ended = read_mlflow(artifact)
    # A resume measures time and memory anew: MLflow's folder keeps what it was told first.
    measured = ("per_second", "memory", "runtime")
    for told in (read_tensorboard(artifact), wandb, swanlab, mlflow):
        for name, points in wanted.items():
            if told is wandb and name in TOTALS:
                continue  # in the summary
            assert [step for step, _ in told[name]] == [step for step, _ in points], name
            if not any(word in name for word in measured):
                assert [value for _, value in told[name]] == pytest.approx([value for _, value in points], rel=1e-4), name
    assert ident == same == (artifact / "run.id").read_text()
    assert ended.info.run_id == (artifact / "mlflow-offline.id").read_text()
    assert ended.info.status == "FINISHED"
    assert config["train"]["learning_rate"] == float(ended.data.params["train.learning_rate"]) == 1e-3
    assert config["versions"]["torch"] == ended.data.params["versions.torch"]
    return ident


def test_each_tracker_has_what_the_curve_has(few_sources, store, tmp_path):
    said = run("train", spec(tmp_path, *few_sources, train=TRAIN, track=ALL), "--store", store, cwd=tmp_path)
    check(trained(said, store))
    assert {(e["tracker"], e["mode"], e["missing"], e["failures"]) for e in events(store, "tracked")} == {
        (name, "offline", 0, 0) for name in ("tensorboard", "wandb", "swanlab", "mlflow")
    }
    assert not re.search("wandb|swanlab|mlflow", said.partition("no impact above this line")[2]), "libraries speak through our lines"
    # MLflow has no command that uploads a folder: the program brings one, which takes a folder for a server too.
    command = [sys.executable, "-m", "entrypoint.run.upload_mlflow", trained(said, store), (tmp_path / "mlflow").as_uri(), "tiny"]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, cwd=tmp_path, check=True, capture_output=True)
    uploaded, ended = read_mlflow(tmp_path)
    assert {name: len(points) for name, points in uploaded.items()} == {name: len(points) for name, points in curve(trained(said, store)).items()}
    assert (ended.info.status, ended.data.params["train.learning_rate"]) == ("FINISHED", "0.001")
    # One that is added or taken away later trains nothing anew.
    assert "up to date" in run("train", spec(tmp_path, *few_sources, train=TRAIN, track="[wandb]"), "--store", store, cwd=tmp_path)


def test_killed_it_goes_on_with_the_same_run_and_no_step_twice(few_sources, store, tmp_path):
    path = spec(tmp_path, *few_sources, train=TRAIN.replace("epochs: 6", "epochs: 24").replace("every: 3", "every: 20"), track=ALL)
    process = caisson("train", path, "--store", store, cwd=tmp_path)
    deadline = time.monotonic() + 120
    # Past the first checkpoint by some steps that a tracker has been told of: they will come again.
    while max((len(p.read_text().splitlines()) for p in (store / "tiny" / "train").glob(".partial-*/mlflow/*/*/metrics/train/loss")), default=0) < 25:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    end_orphans(store)  # first: they hold the pipes that communicate reads to the end
    process.communicate()
    (partial,) = (store / "tiny" / "train").glob(".partial-*")
    before = (partial / "run.id").read_text(), (partial / "mlflow-offline.id").read_text()
    said = run("train", path, "--store", store, cwd=tmp_path)
    assert "goes on from step-" in said
    artifact = trained(said, store)
    assert before == (check(artifact), (artifact / "mlflow-offline.id").read_text())


@pytest.mark.parametrize("fault", ["half a row", "half a line", "an empty file", "no id", "an empty id", "a run without its file"])
def test_mlflow_has_each_number_once_whatever_a_kill_left(tmp_path, fault):
    rows = [{"step": n, "time": n, "loss": 1.0 / n, "grad_norm": 0.1 * n, "epoch": n / 10} for n in range(1, 8)]

    def tell(told):
        client = MlflowClient(Run("tiny", TrackerJob(kind="mlflow", project="tiny"), False, tmp_path / "mlflow", {"seed": 1}, "one"))
        client.open()
        client.log(told)
        return client

    tell(rows[:5])
    (epochs,) = (tmp_path / "mlflow").glob("*/*/metrics/train/epoch")
    kept = epochs.read_text().splitlines(keepends=True)
    ident = tmp_path / "mlflow-offline.id"
    {
        "half a row": lambda: epochs.write_text("".join(kept[:-1])),  # killed between two numbers of step 5
        "half a line": lambda: epochs.write_text("".join(kept[:-1]) + kept[-1][:7]),
        "an empty file": lambda: epochs.write_text(""),
        "no id": ident.unlink,
        "an empty id": lambda: ident.write_text(""),
        "a run without its file": lambda: next((tmp_path / "mlflow").glob("*/*/meta.yaml")).unlink(),
    }[fault]()
    tell(rows).close(True)
    found, ended = read_mlflow(tmp_path)
    assert {name: [step for step, _ in points] for name, points in found.items()} == {
        name: list(range(1, 8)) for name in ("train/loss", "train/grad_norm", "train/epoch")
    }
    assert (ended.info.status, ended.info.run_id, ended.data.params) == ("FINISHED", ident.read_text(), {"seed": "1"})


def end_orphans(store):
    """SIGKILL spares the children outside a container: end them too, as the container's end would."""
    import psutil

    for process in psutil.process_iter(["cmdline"]):
        command = " ".join(process.info["cmdline"] or ())
        if ("entrypoint.run.train" in command and str(store) in command) or "wandb-core" in command:
            process.kill()
            process.wait(10)


def test_what_is_in_the_way_of_a_tracker_is_not_in_the_way_of_training(few_sources, store, tmp_path):
    path = spec(tmp_path, *few_sources, train=TRAIN, track=ALL)
    plan = json.loads(run("plan", path, "--store", store, "--json", cwd=tmp_path))
    (step,) = (s for s in plan["steps"] if s["stage"] == "train")
    partial = store / step["folder"] / f".partial-{step['work'][:16]}"
    partial.mkdir(parents=True)
    broken = ("tensorboard", "swanlab", "mlflow")
    for name in broken:
        (partial / name).write_text("a file where the tracker wants its folder")
    said = run("train", path, "--store", store, cwd=tmp_path)
    artifact = trained(said, store)
    assert (artifact / "weights").is_dir() and len(curve(artifact)["train/loss"]) == 36
    for name in broken:
        assert said.count(f"  tracker {name}: ") == 2, "what is wrong, and at the end what is missing"
    assert {e["tracker"] for e in events(store, "tracker_failed")} == set(broken)
    tracked = {e["tracker"]: e for e in events(store, "tracked")}
    assert all(tracked[name]["failures"] >= 2 and tracked[name]["missing"] > 36 for name in broken)
    assert tracked["wandb"]["missing"] == tracked["wandb"]["failures"] == 0
    assert len(read_wandb(artifact)[0]["train/loss"]) == 36


def test_no_network_no_server(few_sources, store, tmp_path):
    """These tests have none either."""
    said = run("train", spec(tmp_path, *few_sources, track="[{kind: wandb, mode: online}]"), "--store", store, cwd=tmp_path, code=3)
    assert "track: wandb wants its server, and train has no network here" in said
    assert not (store / "tiny" / "train").exists()
