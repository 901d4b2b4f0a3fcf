"""The chain from rows to export, found by content; and curves."""

import json
from pathlib import Path

import pytest

from entrypoint.run.lineage import POINTS, curves, lineage, recorded, thinned
from entrypoint.run.seal import seal
from schemas.manifest import Manifest, Sealed


def put(root: Path, folder: str, stage: str, inputs: dict[str, Sealed], **said: object) -> Sealed:
    """A sealed artifact that was made of others."""
    partial = root / folder / ".partial"
    partial.mkdir(parents=True)
    (partial / "content").write_text(f"{folder} {sorted(inputs)}")
    bare = Manifest.model_validate(
        {
            "stage": stage,
            "name": "n",
            "identity": folder,
            "request": "r",
            "program": "0",
            "files": (),
            "job": {},
            "inputs": {r: s.manifest.content for r, s in inputs.items()},
        }
        | said
    )
    return Sealed(f"{folder}/1", seal(partial, partial.with_name("1"), bare))


def store(root: Path) -> dict[str, Sealed]:
    data = put(root, "data", "fetch", {}, job={"role": "data", "sources": ["/data/a.jsonl", "hf://org/rows"]})
    model = put(root, "models", "fetch", {}, job={"role": "model", "sources": ["/models/m"]})
    summary = {"train": {"rows": 1270, "tokens": 9, "longest": 3}, "validation": {"rows": 30}}
    prepared = put(root, "n/prepared", "prepare", {"data": data, "model": model}, job={"seed": 17}, summary=summary)
    job = {"method": {"kind": "sft"}, "adapter": {"kind": "lora"}}
    trained = put(root, "n/train", "train", {"model": model, "prepared": prepared}, job=job, summary={"steps": 102, "last_loss": 0.42134})
    merged = put(root, "n/exports", "export", {"model": model, "prepared": prepared, "trained": trained}, job={"kind": "safetensors"})
    other = put(root, "other/train", "train", {"model": model})
    return {"data": data, "model": model, "prepared": prepared, "trained": trained, "exported": merged, "other": other}


def test_from_rows_to_export(tmp_path: Path) -> None:
    made = store(tmp_path)
    found = lineage(tmp_path, made["exported"])
    assert [(link.role, link.folder, link.what) for link in found] == [
        ("data", "data/1", "/data/a.jsonl, hf://org/rows"),
        ("model", "models/1", "/models/m"),
        ("prepared", "n/prepared/1", "1,270 rows to learn, 30 held out, seed 17"),
        ("trained", "n/train/1", "sft, lora, 102 steps, last loss 0.4213"),
        ("exported", "n/exports/1", "safetensors"),
    ]
    assert found[-1].inputs["trained"] == made["trained"].manifest.content


def test_what_was_set_aside_is_no_source(tmp_path: Path) -> None:
    made = store(tmp_path)
    (tmp_path / "n/train/1").rename(tmp_path / "n/train/.damaged-1")
    assert "trained" not in [link.role for link in lineage(tmp_path, made["exported"])]


def test_what_is_gone_is_left_out(tmp_path: Path) -> None:
    made = store(tmp_path)
    (tmp_path / "n/prepared/1/manifest.json").unlink()
    assert [link.role for link in lineage(tmp_path, made["exported"])] == ["model", "trained", "exported"], "the rows are only named by what is gone"


def test_curves(tmp_path: Path) -> None:
    curve = [
        {"step": 1, "loss": 2.5},
        {"step": 2, "loss": None, "skipped": 1.0},
        {"step": 3, "loss": 2},
        {"step": 3, "eval_loss": 2.2},
        {"step": 3, "train_loss": 2.4},
    ]
    (tmp_path / "curve.json").write_text(json.dumps(curve))
    assert curves(tmp_path) == (((1, 2.5), (3, 2.0)), ((3, 2.2),))


def test_what_training_recorded_of_the_weights_that_it_kept(tmp_path: Path) -> None:
    kept = {"step": 3, "eval_loss": 2.2, "eval_rewards/accuracies": 0.9, "eval_runtime": 3.0, "epoch": 1.0}
    (tmp_path / "curve.json").write_text(json.dumps([kept, {"step": 6, "eval_loss": 2.5, "eval_entropy": None}]))
    assert recorded(tmp_path, 3) == {"loss": 2.2, "rewards/accuracies": 0.9}
    assert recorded(tmp_path, 6) == recorded(tmp_path, None) == {"loss": 2.5}
    assert recorded(tmp_path / "none", 3) == {}


@pytest.mark.parametrize("text", ["", "{}", "[1, null]", "\ud800"])
def test_a_curve_that_is_none(tmp_path: Path, text: str) -> None:
    assert curves(tmp_path) == ((), ())
    (tmp_path / "curve.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    assert curves(tmp_path) == ((), ())


def test_a_long_curve_keeps_its_shape() -> None:
    points = [(step, float(step)) for step in range(1, 10_001)]
    found = thinned(points)
    assert len(found) == POINTS and found[-1][0] == 10_000
    assert all(abs(value - step) < 25 for step, value in found)
    assert thinned(points[:10]) == tuple(points[:10])
