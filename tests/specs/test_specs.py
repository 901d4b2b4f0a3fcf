"""Every example spec is valid, for the program and for editors, and teaches."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from schemas.facts import Facts
from schemas.load import load

ROOT = Path(__file__).parents[2]
SPECS = sorted((ROOT / "specs").glob("*.yaml"))
FACTS = sorted((ROOT / "tests" / "facts").glob("*.json"))
SCHEMA_LINE = "# yaml-language-server: $schema=../schemas/spec.schema.json"


def test_there_are_specs() -> None:
    assert {p.stem for p in SPECS} >= {"minimal", "demo", "cpu-smoke", "qlora-7b-24gb", "lora-8b-80gb", "zero3-70b-8gpu", "full-1.7b"}


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_valid(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    load(text, path.name)
    schema = json.loads((ROOT / "schemas" / "spec.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(YAML(typ="safe", pure=True).load(text))


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_layout(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == SCHEMA_LINE
    assert re.match(r"# [A-Z]", lines[2]), "says what it is for"
    assert [line for line in lines if len(line) > 80 or line != line.rstrip()] == []


def test_names_differ() -> None:
    names = [load(path.read_text(encoding="utf-8")).name for path in SPECS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("path", FACTS, ids=lambda p: p.stem)
def test_facts_know_every_model(path: Path) -> None:
    facts = Facts.model_validate_json(path.read_text(encoding="utf-8"))
    named = {load(spec.read_text(encoding="utf-8")).model.source for spec in SPECS}
    assert named == set(facts.models)
    assert (facts.device == "cuda") is bool(facts.accelerators)
