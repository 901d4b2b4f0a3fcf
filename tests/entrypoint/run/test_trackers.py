"""All four trackers beside a real training: what each wrote is what curve.json says, also after a kill; one that fails stops nothing."""

import base64
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import swanlab_server
import wandb_server

pytest.importorskip("trl")

from tiny import caisson, rows, run, spec, write_model, write_rows
from tracked import curve, read_mlflow, read_swanlab, read_tensorboard, read_wandb

from entrypoint.run import trackers
from entrypoint.run.events import Events
from schemas.job import AdapterJob, Task, TrainJob
from schemas.track import TrackerJob

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]

ALL = "[tensorboard, wandb, swanlab, mlflow]"
TRAIN = "{epochs: 6, learning_rate: 1.0e-3, batch_tokens: 240, checkpoint: {every: 3}}"
NAMES = {"loss", "learning_rate", "grad_norm", "num_tokens", "tokens_per_second", "peak_memory_gib"}
TRAIN_JOB = TrainJob(
    method="sft", adapter=AdapterJob(kind="full"), device="cpu", strategy="single", ranks=1, precision="fp32", epochs=1.0, max_steps=30, learning_rate=1e-3,
    schedule="linear", warmup=0.0, weight_decay=0.0, max_grad_norm=1.0, micro_batch=1, accumulation=1, gradient_checkpointing=False, checkpoint_every=5, keep=2,
    seed=1, track=(),
)  # fmt: skip
TOTALS = {"train/train_runtime", "train/train_samples_per_second", "train/train_steps_per_second", "train/train_loss"}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Model folder and rows."""
    folder = tmp_path_factory.mktemp("sources")
    return write_model(folder / "model"), write_rows(folder / "rows.jsonl", rows())


@pytest.fixture(scope="module")
def fetched(sources, tmp_path_factory):
    """A store with model, rows and shards."""
    folder = tmp_path_factory.mktemp("store")
    for stage in ("fetch", "prepare"):
        run(stage, spec(folder, *sources), "--store", folder / "store", cwd=folder)
    return folder / "store"


@pytest.fixture
def store(fetched, tmp_path):
    """A copy of it: where curves go is in no identity, so that two tests would share an artifact."""
    return Path(shutil.copytree(fetched, tmp_path / "store"))


def trained(said, store):
    """The artifact that a run of train names."""
    return store / re.search(r"tiny/train/[0-9a-f]{16}", said)[0]


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


def events(store, kind):
    """The events of one kind that train left."""
    lines = (store / "tiny" / "logs" / "train.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def test_each_tracker_has_what_the_curve_has(sources, store, tmp_path):
    said = run("train", spec(tmp_path, *sources, train=TRAIN, track=ALL), "--store", store, cwd=tmp_path)
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
    assert "up to date" in run("train", spec(tmp_path, *sources, train=TRAIN, track="[wandb]"), "--store", store, cwd=tmp_path)


def test_killed_it_goes_on_with_the_same_run_and_no_step_twice(sources, store, tmp_path):
    path = spec(tmp_path, *sources, train=TRAIN.replace("epochs: 6", "epochs: 24").replace("every: 3", "every: 20"), track=ALL)
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


def end_orphans(store):
    """SIGKILL spares the children outside a container: end them too, as the container's end would."""
    import psutil

    for process in psutil.process_iter(["cmdline"]):
        command = " ".join(process.info["cmdline"] or ())
        if ("entrypoint.run.train" in command and str(store) in command) or "wandb-core" in command:
            process.kill()
            process.wait(10)


def test_what_is_in_the_way_of_a_tracker_is_not_in_the_way_of_training(sources, store, tmp_path):
    path = spec(tmp_path, *sources, train=TRAIN, track=ALL)
    plan = json.loads(run("plan", path, "--store", store, "--json", cwd=tmp_path))
    (step,) = (s for s in plan["steps"] if s["stage"] == "train")
    partial = store / step["folder"] / f".partial-{step['identity'][:16]}"
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


def test_no_network_no_server(sources, store, tmp_path):
    """These tests have none either."""
    said = run("train", spec(tmp_path, *sources, track="[{kind: wandb, mode: online}]"), "--store", store, cwd=tmp_path, code=3)
    assert "track: wandb wants its server, and train has no network here" in said
    assert not (store / "tiny" / "train").exists()


KEY = "user:0123456789abcdef-not-for-other-eyes"


@pytest.fixture
def refusing():
    """A server that refuses everything, and the keys that it was shown."""
    shown = []

    class Refuse(BaseHTTPRequestHandler):
        def do_GET(self):
            shown.append(self.headers["Authorization"])
            self.send_response(401)
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refuse) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", shown
        server.shutdown()


def leaf(sources, store, tmp_path, *trackers):
    """The leaf's process with trackers that a plan without a network would not give it."""
    plan = json.loads(run("plan", spec(tmp_path, *sources, train=TRAIN), "--store", store, "--json", cwd=tmp_path))
    (step,) = (s for s in plan["steps"] if s["stage"] == "train")
    job = TrainJob.model_validate(step["job"]).model_copy(update={"track": trackers})
    inputs = {role: str(store / folder) for role, folder in step["inputs"].items()}
    (store / "tiny" / "logs").mkdir(exist_ok=True)
    task = Task(name="tiny", job=job, inputs=inputs, output=f"{tmp_path}/out", events=f"{store}/tiny/logs/train.jsonl", summary=f"{tmp_path}/summary.json")
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "task.json").write_text(task.model_dump_json())
    given = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "entrypoint.run.train", tmp_path / "task.json"]
    return subprocess.Popen(command, env=given, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_a_server_that_refuses_leaves_the_run_to_the_artifact_and_the_key_is_nowhere(sources, store, tmp_path, refusing):
    address, shown = refusing
    key_file = tmp_path / "key"
    key_file.write_text(KEY + "\n")
    trackers = [TrackerJob(kind=kind, online=True, project="tiny", server=address, key_file=str(key_file)) for kind in ("wandb", "swanlab", "mlflow")]
    process = leaf(sources, store, tmp_path, *trackers)
    while process.poll() is None:  # its environment and arguments, and those of the processes that libraries start
        for place in Path("/proc").glob("[0-9]*"):
            for file in ("environ", "cmdline"):
                with contextlib.suppress(OSError):
                    assert KEY.encode() not in (place / file).read_bytes()
        time.sleep(0.2)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    assert f"Basic {base64.b64encode(KEY.encode()).decode()}" in shown
    assert {(e["tracker"], e["mode"], e["missing"]) for e in events(store, "tracked")} == {(name, "offline", 0) for name in ("wandb", "swanlab", "mlflow")}
    for name in ("wandb", "swanlab", "mlflow"):
        assert said.count(f"  tracker {name}: ") == 1 and "it is written into the artifact instead" in said
    for told in (read_wandb(tmp_path / "out")[0], read_swanlab(tmp_path / "out")[0], read_mlflow(tmp_path / "out")[0]):
        assert [step for step, _ in told["train/loss"]] == list(range(1, 37))
    written = [p for folder in (tmp_path / "out", store) for p in folder.rglob("*") if p.is_file()]
    assert [p for p in written if KEY.encode() in p.read_bytes()] == []
    assert KEY not in said


@pytest.mark.parametrize(("content", "what"), [(None, "holds no key"), ("", "holds no key"), ("two words", "holds something that is not a key")])
def test_a_key_that_is_missing_is_said_before_anything_is_loaded(sources, store, tmp_path, content, what):
    if content is not None:
        (tmp_path / "key").write_text(content)
    process = leaf(sources, store, tmp_path, TrackerJob(kind="swanlab", online=True, project="tiny", key_file=str(tmp_path / "key")))
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 3 and what in said and "SWANLAB_KEY_FILE=FILE" in said
    assert content != "two words" or "two words" not in said


def test_wandb_online_goes_on_with_the_run_that_its_server_has(sources, store, tmp_path):
    key_file = tmp_path / "key"
    key_file.write_text("k" * 40)
    with wandb_server.serve() as (address, runs):
        tracker = TrackerJob(kind="wandb", online=True, project="tiny", server=address, key_file=str(key_file))
        process = leaf(sources, store, tmp_path, tracker)
        while not list((tmp_path / "out" / "checkpoints").glob("step-1?")):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate()
        assert process.returncode == 75, said
        told = len(runs.history())
        # As if the stop had been a kill: the last checkpoint is gone, its steps come again.
        for folder in sorted((tmp_path / "out" / "checkpoints").glob("step-*"), key=lambda p: int(p.name[5:]))[1:]:
            shutil.rmtree(folder)
        process = leaf(sources, store, tmp_path, tracker)
        said, _ = process.communicate()
        assert process.returncode == 0 and "goes on from step-" in said, said
    rows = runs.history()
    wanted = [row for row in json.loads((tmp_path / "out" / "curve.json").read_text()) if "train_runtime" not in row]
    assert 12 <= told < len(rows)
    learned, judged = ([row for row in rows if name in row] for name in ("train/loss", "eval/loss"))
    assert [row["train/global_step"] for row in learned] == list(range(1, 37))
    assert [row["train/loss"] for row in learned] == pytest.approx([row["loss"] for row in wanted if "loss" in row], rel=1e-4)
    # An evaluation at the step of a checkpoint comes after it: the server has one that the history of the second attempt lacks.
    assert [row["eval/global_step"] for row in judged] == [6, 12, 18, 24, 30, 36]
    assert {row["step"] for row in wanted if "eval_loss" in row} <= {row["eval/global_step"] for row in judged}
    assert [row["_step"] for row in rows] == list(range(len(rows)))
    assert runs.names == {(tmp_path / "out" / "run.id").read_text()}
    assert "train_runtime" in json.loads(runs.summary) and json.loads(runs.config)["train"]["value"]["learning_rate"] == 1e-3
    assert {(e["mode"], e["missing"], e["failures"]) for e in events(store, "tracked")} == {("online", 0, 0)}


def swanlab_in_three_attempts(tmp_path):
    """Two that go well and one whose server goes away, with rows of its own."""
    trackers.CLOSE_SECONDS = 5.0
    (tmp_path / "key").write_text("k" * 40)
    events = Events(tmp_path / "events.jsonl")

    def attempt(first, last, address, away=None):
        job = TRAIN_JOB.model_copy(update={"track": (TrackerJob(kind="swanlab", online=True, project="tiny", server=address, key_file=str(tmp_path / "key")),)})
        task = Task(name="tiny", job=job, inputs={}, output=str(tmp_path / "out"), events=str(events.path), summary="")
        history = [{"loss": 1 / step, "step": step, "time": 1.0} for step in range(1, first)]
        state = SimpleNamespace(log_history=history, global_step=first - 1, max_steps=30)
        control, args = SimpleNamespace(should_training_stop=False), SimpleNamespace(device=SimpleNamespace(type="cpu"))
        tracker = trackers.Trackers(task, events)
        tracker.on_train_begin(args, state, control)
        for step in range(first, last + 1):
            state.global_step = step
            state.log_history.append({"loss": 1 / step, "step": step})
            tracker.on_log(args, state, control)
            if step == away:
                while kept.steps("train/loss")[-1:] != [away]:
                    time.sleep(0.05)
                kept.away = True
        tracker.on_train_end(args, state, control)

    (tmp_path / "out").mkdir()
    with swanlab_server.serve() as (address, kept):
        attempt(1, 12, address)
        attempt(8, 20, address)
        assert kept.steps("train/loss") == list(range(1, 21))
        assert set(kept.names) == {(tmp_path / "out" / "run.id").read_text()} and kept.states == ["ABORTED", "ABORTED"]
        assert kept.profile["config"]["train"]["value"]["learning_rate"] == 1e-3
        attempt(21, 30, address, away=25)
        assert kept.steps("train/loss") == list(range(1, 26))


def test_swanlab_online_goes_on_and_a_server_that_goes_away_leaves_the_run_to_the_artifact(tmp_path):
    """In a process of its own: the library waits for its server for ever, with open files."""
    code = "import sys; from pathlib import Path; from test_trackers import swanlab_in_three_attempts; swanlab_in_three_attempts(Path(sys.argv[1]))"
    given = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", code, tmp_path], env=given, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found, ident = read_swanlab(tmp_path / "out")
    assert [step for step, _ in found["train/loss"]] == list(range(1, 31)) and ident == (tmp_path / "out" / "run.id").read_text()
    said = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [e["what"] for e in said if e["event"] == "tracker_failed"][-1] == "not done 5 s after the last step"
    assert (said[-1]["mode"], said[-1]["rows"], said[-1]["missing"]) == ("offline", 30, 0)
