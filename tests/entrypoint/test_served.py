"""Facts for serving: the template that will be served, adapters, drafts."""

import json
from pathlib import Path

import pytest

from entrypoint.probe import node_rank
from entrypoint.run.store import Store
from entrypoint.served import read_template, with_served
from schemas.errors import MachineError
from schemas.facts import AdapterFacts, Facts
from schemas.load import load
from schemas.spec import Spec

FACTS = Facts(device="cpu", cpu_cores=1, ram_gib=1.0, disk_free_gib=1.0, shm_gib=1.0, program="0")


def spec(text: str = "") -> Spec:
    return load(f"spec: 1\nname: n\nmodel: {{source: /m}}\ndata: {{train: [{{source: /d}}]}}\nmethod: {{kind: sft}}\n{text}")


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, None),
        ({"chat_template.jinja": "<think>"}, "<think>"),
        ({"tokenizer_config.json": json.dumps({"chat_template": "<tool_call>"})}, "<tool_call>"),
        ({"tokenizer_config.json": json.dumps({"chat_template": [{"name": "tool_use", "template": "b"}, {"name": "default", "template": "a"}]})}, "a"),
        ({"chat_template.jinja": "own", "tokenizer_config.json": json.dumps({"chat_template": "older"})}, "own"),
        ({"tokenizer_config.json": "{}"}, None),
        ({"tokenizer_config.json": "[]"}, None),
        ({"tokenizer_config.json": "{"}, None),
    ],
)
def test_template(tmp_path: Path, files: dict[str, str], found: str | None) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert read_template(tmp_path) == found


def test_marks_of_the_model(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_text("{{ '<tool_call>' }}<think>")
    store = Store(tmp_path / "store")
    assert with_served(FACTS, spec(), store, tmp_path).template_marks == ("<tool_call>", "<think>")
    assert with_served(FACTS, spec(), store, None).template_marks is None


def test_another_template_takes_the_model_s_place(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_text("<tool_call>")
    other = load("spec: 1\nname: n\nmodel: {source: /m}\ndata: {train: [{source: /d}], template: chatml}\nmethod: {kind: sft}\n")
    assert with_served(FACTS, other, Store(tmp_path / "store"), tmp_path).template_marks is None


def test_adapters(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"r": 8}')
    text = f"serve: {{adapters: [{{name: a, path: {tmp_path}}}, {{name: b, run: never}}, {{name: c, path: {tmp_path / 'none'}}}]}}"
    found = with_served(FACTS, spec(text), Store(tmp_path / "store"), None).adapters
    assert found == {"a": AdapterFacts(config={"r": 8}, folder=str(tmp_path)), "b": None, "c": None}


@pytest.mark.parametrize(("path", "kind"), [("", "folder"), ("none", "missing")])
def test_drafts(tmp_path: Path, path: str, kind: str) -> None:
    draft = str(tmp_path / path)
    found = with_served(FACTS, spec(f"serve: {{speculative: {{kind: draft, model: {draft}}}}}"), Store(tmp_path / "store"), None)
    assert found.sources[draft].kind == kind


@pytest.mark.parametrize(("said", "rank"), [(None, 0), ("", 0), ("0", 0), ("3", 3)])
def test_node(monkeypatch: pytest.MonkeyPatch, said: str | None, rank: int) -> None:
    monkeypatch.delenv("NODE_RANK", raising=False)
    if said is not None:
        monkeypatch.setenv("NODE_RANK", said)
    assert node_rank() == rank


@pytest.mark.parametrize("said", ["-1", "one", "²"])
def test_a_node_that_is_none(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("NODE_RANK", said)
    with pytest.raises(MachineError, match="NODE_RANK"):
        node_rank()
