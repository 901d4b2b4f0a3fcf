"""All four trackers beside a real training: what each wrote is what curve.json says, also after a kill; one that fails stops nothing."""

import json
import re
import signal
import struct
import time
from collections import defaultdict

import pytest

pytest.importorskip("trl")

from tiny import caisson, rows, run, spec, write_model, write_rows

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]

ALL = "[tensorboard, wandb, swanlab, mlflow]"
TRAIN = "{epochs: 6, learning_rate: 1.0e-3, batch_tokens: 240, checkpoint: {every: 3}}"
NAMES = {"loss", "learning_rate", "grad_norm", "num_tokens", "tokens_per_second", "peak_memory_gib"}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Model folder and rows."""
    folder = tmp_path_factory.mktemp("sources")
    return write_model(folder / "model"), write_rows(folder / "rows.jsonl", rows())


@pytest.fixture
def store(sources, tmp_path):
    """A store with model, rows and shards."""
    path = spec(tmp_path, *sources)
    for stage in ("fetch", "prepare"):
        run(stage, path, "--store", tmp_path / "store", cwd=tmp_path)
    return tmp_path / "store"


def trained(said, store):
    """The artifact that a run of train names."""
    return store / re.search(r"tiny/train/[0-9a-f]{16}", said)[0]


def curve(artifact):
    """name -> [(step, value)] of curve.json, under the names that trackers get."""
    found = defaultdict(list)
    for entry in json.loads((artifact / "curve.json").read_text()):
        for name, value in entry.items():
            if name not in ("step", "time") and (name != "epoch" or "loss" in entry):
                found[f"eval/{name[5:]}" if name.startswith("eval_") else f"train/{name}"].append((entry["step"], value))
    return dict(found)


def read_tensorboard(artifact):
    """With TensorBoard's own reader."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(artifact / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    return {name: [(e.step, e.value) for e in accumulator.Scalars(name)] for name in accumulator.Tags()["scalars"]}


def records(path):
    """The protobuf records of a .wandb file: LevelDB's log format after a header of 7 bytes. The library's Python part has no reader of it any more."""
    data, at, record = path.read_bytes(), 7, b""
    while at < len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def read_wandb(artifact):
    """Rows of the one run in the folder, with its id and its config."""
    from wandb.proto.wandb_internal_pb2 import Record

    (folder,) = (p for p in (artifact / "wandb").iterdir() if p.is_dir())
    (path,) = folder.glob("*.wandb")
    found, ident, config = defaultdict(list), None, {}
    for data in records(path):
        record = Record.FromString(data)
        if record.WhichOneof("record_type") == "run":
            ident = record.run.run_id
            config |= {u.key: json.loads(u.value_json) for u in record.run.config.update}
        if record.WhichOneof("record_type") == "history":
            row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            for name, value in row.items():
                if not name.startswith("_") and not name.endswith("global_step"):
                    found[name].append((row["train/global_step"], value))
    return dict(found), ident, config


def read_swanlab(artifact):
    """With SwanLab's own reader."""
    from swanlab.proto.swanlab.record.v1.record_pb2 import Record
    from swanlab.sdk.internal.core_python.store import DataStoreReader

    (folder,) = (p for p in (artifact / "swanlab").iterdir() if p.is_dir())
    (path,) = folder.glob("*.swanlab")
    reader, found, ident = DataStoreReader(), defaultdict(list), None
    reader.open(str(path))
    for data in reader:
        record = Record.FromString(data)
        if record.HasField("start"):
            ident = record.start.id
        if record.HasField("scalar") and not record.scalar.key.startswith("__swanlab__"):
            found[record.scalar.key].append((record.scalar.step, record.scalar.value.number))
    reader.close()
    return dict(found), ident


def read_mlflow(artifact):
    """With MLflow's own client."""
    import mlflow

    mlflow.environment_variables.MLFLOW_ALLOW_FILE_STORE.set(True)
    client = mlflow.MlflowClient((artifact / "mlflow").as_uri())
    experiment = client.get_experiment_by_name("tiny")
    (found,) = client.search_runs([experiment.experiment_id])
    history = {name: client.get_metric_history(found.info.run_id, name) for name in found.data.metrics}
    return {name: sorted((m.step, m.value) for m in metrics) for name, metrics in history.items()}, found


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
            if name not in told:
                assert (told is wandb and name.startswith("train/t") and len(points) == 1) or name == "train/total_flos", name  # totals: in the summary
                continue
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
    # One that is added or taken away later trains nothing anew.
    assert "up to date" in run("train", spec(tmp_path, *sources, train=TRAIN, track="[wandb]"), "--store", store, cwd=tmp_path)


def test_killed_it_goes_on_with_the_same_run_and_no_step_twice(sources, store, tmp_path):
    path = spec(tmp_path, *sources, train=TRAIN.replace("epochs: 6", "epochs: 60").replace("every: 3", "every: 20"), track=ALL)
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
