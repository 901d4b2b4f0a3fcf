"""The generated files are fresh, and what they say agrees with what `load` does."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from schemas.generate import ROOT, generate, main, make_json_schema
from schemas.load import load
from schemas.spec import Spec


def example() -> str:
    """The annotated example of docs/spec.md."""
    manual = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
    found = re.search(r"```yaml\n(.*?)```", manual, re.DOTALL)
    assert found
    return found[1]


@pytest.mark.parametrize("path", list(generate()), ids=lambda p: p.name)
def test_fresh(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == generate()[path], "run `python -m schemas.generate`"


def test_deterministic() -> None:
    code = "from schemas.generate import generate; print(*generate().values())"
    said = {subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={"PYTHONHASHSEED": seed}, capture_output=True, check=True).stdout for seed in "01"}
    assert len(said) == 1


def test_check_names_what_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("schemas.generate.ROOT", tmp_path)
    for folder in ("schemas", "docs"):
        (tmp_path / folder).mkdir()
    assert main(["--check"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"{name} is stale: run `python -m schemas.generate` and commit it" for name in ("schemas/spec.schema.json", "docs/spec.md")
    ]
    assert main([]) == 0
    assert main(["--check"]) == 0
    (tmp_path / "docs" / "spec.md").write_text("old", encoding="utf-8")
    capsys.readouterr()
    assert main(["--check"]) == 1
    assert "docs/spec.md is stale" in capsys.readouterr().err


def test_wrong_argument(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--chek"]) == 2
    assert "usage" in capsys.readouterr().err


def test_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(make_json_schema())


def test_nothing_unneeded_in_the_schema() -> None:
    text = json.dumps(make_json_schema())
    assert not re.search(r'"null"|: null|discriminator|"title": "(?!Caisson spec)', text)


def test_every_key_is_described() -> None:
    schema = make_json_schema()
    for model in (schema, *schema["$defs"].values()):
        for key, node in model["properties"].items():
            described = node.get("description") or schema["$defs"][node["$ref"].rpartition("/")[2]]["description"]
            assert described.endswith("."), key


def test_example_is_complete_and_shows_the_defaults() -> None:
    spec = load(example())
    shortest = load(
        "spec: 1\nname: support-desk\nmodel: {source: hf://Qwen/Qwen2.5-7B-Instruct}\n"
        "data: {train: [{source: /data/support.jsonl}]}\nmethod: {kind: sft}\nadapter: {kind: lora}\n"
    )
    assert spec == shortest
    written = YAML(typ="safe", pure=True).load(example())
    assert list(written) == list(Spec.model_fields)
    for name, section in written.items():
        if isinstance(section, dict):
            assert list(section) == list(type(getattr(spec, name)).model_fields)


def test_example_is_narrow() -> None:
    assert max(map(len, example().splitlines())) <= 80


def test_prose_is_narrow() -> None:
    manual = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
    assert [line for line in manual.splitlines() if len(line) > 80 and not line.startswith(("|", "<!--"))] == []


VALID = [
    "{}", "{adapter: {kind: auto}}", "{adapter: {kind: full}}", "{adapter: {kind: qlora, rank: auto, alpha: 32, targets: [q_proj]}}",
    "{adapter: {kind: dora}}", "{adapter: {kind: lora+, ratio: 8}}", "{adapter: {kind: freeze, patterns: ['*.mlp.*']}}", "{train: {optimizer: muon}}",
    "{train: {learning_rate: auto, warmup: 5%, epochs: 3}}", "{train: {warmup: 0.05, checkpoint: {every: 10}}}", "{track: []}", "{serve: {engine: vllm}}",
    "{serve: {engine: lmdeploy, speculative: {kind: eagle3, model: /models/head}, adapters: [{name: a, run: b}], generation: {top_k: 20}}}",
]  # fmt: skip
INVALID = [
    "{train: {learning_rate: fast}}", "{train: {epoch: 3}}", "{adapter: {}}", "{adapter: {kind: full, rank: 4}}", "{adapter: {kind: ia3}}", "{adapter: lora}",
    "{train: {warmup: 150%}}", "{train: {warmup: 5 %}}", "{train: {seed: -1}}", "{train: {max_steps: 0}}", "{serve: {engine: sglang}}", "{export: []}",
    "{hardware: {strategy: pipeline}}", "{name: My Run}", "{spec: 2}", "{data: {train: []}}", "{train: {learning_rate: null}}", "{method: {kind: grpo}}",
    "{export: [{kind: safetensors}, {kind: safetensors}]}", "{data: {train: [{source: /d, format: alpacca}]}}", "{train: {precision: bf-16}}",
    "{serve: {speculative: {kind: ngram, model: /m}}}", "{serve: {kv_cache: nf4}}", "{serve: {max_running: 0}}",
]  # fmt: skip


@pytest.mark.parametrize(("change", "valid"), [*((c, True) for c in VALID), *((c, False) for c in INVALID)])
def test_editor_and_program_agree(change: str, valid: bool) -> None:
    base = {"spec": 1, "name": "a", "model": {"source": "/m"}, "data": {"train": [{"source": "/d"}]}, "method": {"kind": "sft"}}
    data = base | YAML(typ="safe", pure=True).load(change)
    assert jsonschema.Draft202012Validator(make_json_schema()).is_valid(data) is valid
    text = json.dumps(data)
    if valid:
        load(text)
    else:
        with pytest.raises(Exception, match=r"spec\.yaml:1:"):
            load(text)
