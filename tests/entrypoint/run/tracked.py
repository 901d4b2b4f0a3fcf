"""What a train artifact says of its curves: curve.json, and each tracker's own format read back, mostly with its own library."""

import json
import re
import struct
from collections import defaultdict

TRAIN = "{epochs: 6, learning_rate: 1.0e-3, batch_tokens: 300, checkpoint: {every: 3}}"
"""Of a spec: 36 steps with the fewer rows."""


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


def trained(said, store):
    """The artifact that a run of train names."""
    return store / re.search(r"tiny/train/[0-9a-f]{16}", said)[0]


def events(store, kind):
    """The events of one kind that train left."""
    lines = (store / "tiny" / "logs" / "train.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]
