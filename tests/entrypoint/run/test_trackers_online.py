"""Trackers that send to a server: one that refuses, one that goes away, one that has the run already; and keys that are nowhere else."""

import base64
import contextlib
import json
import os
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

from tiny import run, spec
from tracked import TRAIN, events, read_mlflow, read_swanlab, read_wandb

from entrypoint.run import trackers
from entrypoint.run.events import Events
from schemas.job import AdapterJob, Task, TrainJob
from schemas.method import Sft
from schemas.track import TrackerJob

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]

TRAIN_JOB = TrainJob(
    method=Sft(kind="sft"), adapter=AdapterJob(kind="full"), device="cpu", strategy="single", ranks=1, precision="fp32", epochs=1.0, max_steps=30, learning_rate=1e-3,
    weight_decay=0.0, max_grad_norm=1.0, micro_batch=1, accumulation=1, gradient_checkpointing=False, checkpoint_every=5, keep=2,
    seed=1, track=(),
)  # fmt: skip


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


def leaf(few_sources, store, tmp_path, *trackers):
    """The leaf's process with trackers that a plan without a network would not give it."""
    plan = json.loads(run("plan", spec(tmp_path, *few_sources, train=TRAIN), "--store", store, "--json", cwd=tmp_path))
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


def test_a_server_that_refuses_leaves_the_run_to_the_artifact_and_the_key_is_nowhere(few_sources, store, tmp_path, refusing):
    address, shown = refusing
    key_file = tmp_path / "key"
    key_file.write_text(KEY + "\n")
    trackers = [TrackerJob(kind=kind, online=True, project="tiny", server=address, key_file=str(key_file)) for kind in ("wandb", "swanlab", "mlflow")]
    process = leaf(few_sources, store, tmp_path, *trackers)
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
def test_a_key_that_is_missing_is_said_before_anything_is_loaded(few_sources, store, tmp_path, content, what):
    if content is not None:
        (tmp_path / "key").write_text(content)
    process = leaf(few_sources, store, tmp_path, TrackerJob(kind="swanlab", online=True, project="tiny", key_file=str(tmp_path / "key")))
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 3 and what in said and "SWANLAB_KEY_FILE=FILE" in said
    assert content != "two words" or "two words" not in said


def test_wandb_online_goes_on_with_the_run_that_its_server_has(few_sources, store, tmp_path):
    key_file = tmp_path / "key"
    key_file.write_text("k" * 40)
    with wandb_server.serve() as (address, runs):
        tracker = TrackerJob(kind="wandb", online=True, project="tiny", server=address, key_file=str(key_file))
        process = leaf(few_sources, store, tmp_path, tracker)
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
        process = leaf(few_sources, store, tmp_path, tracker)
        said, _ = process.communicate()
        assert process.returncode == 0 and "goes on from step-" in said, said
    rows = runs.history()
    wanted = [row for row in json.loads((tmp_path / "out" / "curve.json").read_text()) if "train_loss" not in row]
    assert 12 <= told < len(rows)
    learned, judged = ([row for row in rows if name in row] for name in ("train/loss", "eval/loss"))
    assert [row["train/global_step"] for row in learned] == list(range(1, 37))
    assert [row["train/loss"] for row in learned] == pytest.approx([row["loss"] for row in wanted if "loss" in row], rel=1e-4)
    # An evaluation at the step of a checkpoint comes after it: the server has one that the history of the second attempt lacks.
    assert [row["eval/global_step"] for row in judged] == [6, 12, 18, 24, 30, 36]
    assert {row["step"] for row in wanted if "eval_loss" in row} <= {row["eval/global_step"] for row in judged}
    assert [row["_step"] for row in rows] == list(range(len(rows)))
    assert runs.names == {(tmp_path / "out" / "run.id").read_text()}
    assert "train_loss" in json.loads(runs.summary) and json.loads(runs.config)["train"]["value"]["learning_rate"] == 1e-3
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
    code = "import sys; from pathlib import Path; from test_trackers_online import swanlab_in_three_attempts; swanlab_in_three_attempts(Path(sys.argv[1]))"
    given = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", code, tmp_path], env=given, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found, ident = read_swanlab(tmp_path / "out")
    assert [step for step, _ in found["train/loss"]] == list(range(1, 31)) and ident == (tmp_path / "out" / "run.id").read_text()
    said = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [e["what"] for e in said if e["event"] == "tracker_failed"][-1] == "not done 5 s after the last step"
    assert (said[-1]["mode"], said[-1]["rows"], said[-1]["missing"]) == ("offline", 30, 0)
