"""What was counted of a model, as other versions, cuts and changes leave it."""

import json
from pathlib import Path

import pytest

from schemas.anatomy import Anatomy, anatomy_in, file_of, read_anatomy

RECORDED = Path(__file__).parents[1] / "anatomies"


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*.json")), ids=lambda path: path.stem)
def test_parts_add_up(path: Path) -> None:
    found = read_anatomy(path.read_bytes())
    assert found
    assert found.counted == found.parameters
    assert read_anatomy(found.model_dump_json(exclude_defaults=True).encode()) == found


def test_in_a_manifest() -> None:
    said = json.loads((RECORDED / "gpt2.json").read_text(encoding="utf-8"))
    manifest = {"version": 1, "stage": "fetch", "files": [], "summary": {"role": "model", "anatomy": said}}
    assert anatomy_in(json.dumps(manifest).encode()) == Anatomy.model_validate(said)
    for summary in ({}, {"anatomy": None}, {"anatomy": {**said, "version": 2}}, {"anatomy": {**said, "hidden": "wide"}}, {"anatomy": 7}):
        assert anatomy_in(json.dumps({**manifest, "summary": summary}).encode()) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b'{"parameters": -1}'])
def test_what_is_none(content: bytes) -> None:
    assert read_anatomy(content) is None
    assert anatomy_in(content) is None


def test_a_config_has_one_place() -> None:
    assert file_of(b"{}") == file_of(b"{}") != file_of(b"{ }")
    assert file_of(b"{}").startswith(".anatomies/")
