"""Merging and its proof, through the command line, on a tiny model."""

import json
import shutil

import pytest

pytest.importorskip("peft")

from tiny import rows, run, spec, write_model, write_rows

from entrypoint.run.greedy import Answer, compare
from schemas.errors import GateRefused
from schemas.manifest import Manifest

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    return write_model(folder / "model"), write_rows(folder / "rows.jsonl", rows())


@pytest.mark.parametrize(
    "adapter", ["{kind: lora, rank: 8}", "{kind: qlora, rank: 8}", pytest.param("{kind: full}", marks=pytest.mark.long)], ids=["lora", "qlora", "full"]
)
def test_the_merged_model_answers_as_the_trained_one_did(sources, tmp_path, adapter):
    from safetensors.torch import load_file
    from transformers import AutoTokenizer

    path = spec(tmp_path, *sources, adapter=adapter, train="{epochs: 3, learning_rate: 5.0e-3, batch_tokens: 240}")
    store = tmp_path / "store"
    for stage in ("fetch", "prepare", "train", "export"):
        said = run(stage, path, "--store", store, cwd=tmp_path)
    assert "answers are equal" in said
    (exported,) = (p for p in (store / "tiny" / "exports").iterdir() if (p / "manifest.json").is_file())
    summary = json.loads((exported / "manifest.json").read_text())["summary"]
    assert summary["equal"] + summary["near_ties"] == summary["golden"] >= 5
    weights = load_file(exported / "model.safetensors")
    assert {str(t.dtype) for t in weights.values()} == {"torch.bfloat16"}
    assert not any("lora" in name for name in weights)
    assert summary.get("merged_into") == {"lora": "full", "qlora": "nf4"}.get(adapter.split(",")[0].removeprefix("{kind: "))
    (trained,) = (p for p in (store / "tiny" / "train").iterdir() if (p / "manifest.json").is_file())
    template = AutoTokenizer.from_pretrained(exported).chat_template
    assert template == AutoTokenizer.from_pretrained(trained / "weights").chat_template
    assert "up to date" in run("export", path, "--store", store, cwd=tmp_path)


@pytest.fixture(scope="module")
def trained(sources, tmp_path_factory):
    """A store with all that export reads."""
    folder = tmp_path_factory.mktemp("trained")
    path = spec(folder, *sources, train="{max_steps: 2, batch_tokens: 240}")
    for stage in ("fetch", "prepare", "train"):
        run(stage, path, "--store", folder / "store", cwd=folder)
    return folder / "store"


@pytest.mark.parametrize(
    ("file", "how"),
    [("tiny/train/*/weights/adapter_model.safetensors", "altered"), ("models/*/model.safetensors", "cut")],
    ids=["adapter", "shard of the base"],
)
def test_a_damaged_input_is_refused_by_name(sources, trained, tmp_path, file, how):
    store = tmp_path / "store"
    shutil.copytree(trained, store)
    path = spec(tmp_path, *sources, train="{max_steps: 2, batch_tokens: 240}")
    (shard,) = store.glob(file)
    content = bytearray(shard.read_bytes())
    if how == "altered":
        content[-1] ^= 1
    shard.write_bytes(content if how == "altered" else content[:-64])
    said = run("export", path, "--store", store, cwd=tmp_path, code=3 if how == "altered" else 2)
    assert f"{shard.name} was altered after it was sealed" in said if how == "altered" else "fetch has not finished for this spec" in said
    assert not [p for p in (store / "tiny" / "exports").glob("*") if not p.name.startswith(".")]


def test_several_exports_of_one_training(sources, trained, tmp_path):
    """The second is made from what the first has sealed, in one command; what is there is not made again."""
    store = tmp_path / "store"
    shutil.copytree(trained, store)
    sections = {"train": "{max_steps: 2, batch_tokens: 240}", "export": "[{kind: adapter}, {kind: safetensors}]"}
    said = run("export", spec(tmp_path, *sources, **sections), "--store", store, cwd=tmp_path)
    assert said.count("golden prompts with the tuned model in fp32") == 1 and said.count(": sealed tiny/exports/") == 2
    manifests = [json.loads(p.read_text()) for p in (store / "tiny" / "exports").glob("*/manifest.json")]
    assert sorted(m["job"]["kind"] for m in manifests) == ["adapter", "safetensors"]
    assert all(m["summary"]["bytes"] and m["summary"]["peak_bytes"] and m["summary"]["golden"] >= 5 for m in manifests)
    (merged,) = (m for m in manifests if m["job"]["kind"] == "safetensors")
    assert merged["job"]["base"] == Manifest.model_validate_json(next((store / "models").glob("*/manifest.json")).read_text()).content
    assert run("export", tmp_path / "spec.yaml", "--store", store, cwd=tmp_path).count("up to date") == 2
    only = run("export", spec(tmp_path, *sources, **{**sections, "export": "[{kind: safetensors, name: other}]"}), "--store", store, cwd=tmp_path)
    assert "up to date" in only, "a name makes no other artifact"


def test_another_answer_is_told_from_a_near_tie():
    first = Answer([5, 6, 7], [-0.1, -0.2, -0.3], [3.0, 0.05, 2.0])
    assert compare(first, Answer([5, 6, 7], [-0.1, -0.25, -0.3], [3, 1, 2])).equal
    assert compare(first, Answer([5, 9, 7], [-0.1, -0.2, -0.3], [3, 1, 2])).tie
    apart = compare(first, Answer([5, 6, 8], [-0.1, -0.2, -0.3], [3, 1, 2]))
    assert not apart.equal and not apart.tie


def test_a_base_without_all_of_its_weights_is_refused(sources, tmp_path):
    """By prepare, before anything is computed; the loader of every later stage would refuse it too."""
    from safetensors.torch import load_file, save_file

    from entrypoint.run.load_model import load_plain

    model = write_model(tmp_path / "model")
    weights = load_file(model / "model.safetensors")
    save_file({k: v for k, v in weights.items() if "layers.1." not in k}, model / "model.safetensors", metadata={"format": "pt"})
    path, store = spec(tmp_path, model, sources[1]), tmp_path / "store"
    run("fetch", path, "--store", store, cwd=tmp_path)
    assert "9 weights that config.json asks for are missing" in run("prepare", path, "--store", store, cwd=tmp_path, code=4)
    with pytest.raises(GateRefused, match="are missing or of another shape"):
        load_plain(model)
