"""What every example spec in a folder below specs/ has."""

import json
from pathlib import Path

import jsonschema
from ruamel.yaml import YAML

from schemas.load import load
from schemas.spec import Spec

ROOT = Path(__file__).parents[2]


def check_laid_out(path: Path) -> Spec:
    """The spec: valid for the program and for an editor, whose first line names the schema, no line over 80 columns."""
    text = path.read_text(encoding="utf-8")
    schema = json.loads((ROOT / "schemas" / "spec.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(YAML(typ="safe", pure=True).load(text))
    lines = text.splitlines()
    assert lines[0] == "# yaml-language-server: $schema=../../schemas/spec.schema.json"
    assert [line for line in lines if len(line) > 80 or line != line.rstrip()] == []
    return load(text, path.name)
