"""Models as they lie on the disk."""

import gc
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from entrypoint import probe
from schemas.anatomy import file_of


@pytest.fixture(autouse=True)
def no_collection() -> Iterator[None]:
    """At the bottom of a nested text there is no stack left for the finalizers of what other tests have left over."""
    gc.disable()
    yield
    gc.enable()


def test_model_with_a_link_to_nowhere(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "a.safetensors").write_bytes(bytes(10))
    (tmp_path / "b.safetensors").symlink_to(tmp_path / "gone")
    found = probe.read_model(tmp_path)
    assert found
    assert found.stored_bytes == 10


@pytest.mark.parametrize("make", [os.mkfifo, lambda p: p.symlink_to("/dev/zero"), lambda p: p.symlink_to(p), lambda p: p.mkdir()])
def test_config_that_is_no_file(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "config.json")
    assert probe.read_model(tmp_path) is None


def test_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 4}))
    (tmp_path / "a.safetensors").write_bytes(bytes(10))
    (tmp_path / "b.safetensors").write_bytes(bytes(5))
    (tmp_path / "c.bin").write_bytes(bytes(99))
    found = probe.read_model(tmp_path)
    assert found
    assert (found.config, found.stored_bytes) == ({"hidden_size": 4}, 15)


def test_model_without_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    found = probe.read_model(tmp_path)
    assert found
    assert found.stored_bytes is None


@pytest.mark.parametrize(
    "content", [None, b"", b"[]", b"{", b"\xff", b"3", b"[" * 100_000], ids=["missing", "empty", "list", "cut", "not UTF-8", "number", "deep"]
)
def test_no_model(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    assert probe.read_model(tmp_path) is None


def test_what_was_counted(tmp_path: Path) -> None:
    """By fetch, in the manifest; else by the command, in the store under this config; else not."""
    recorded = (Path(__file__).parents[2] / "anatomies" / "gpt2.json").read_bytes()
    model, store = tmp_path / "model", tmp_path / "store"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "gpt2"}')
    kept = store / file_of((model / "config.json").read_bytes())
    kept.parent.mkdir(parents=True)
    (model / "manifest.json").write_text('{"summary": {}}')

    def parameters(store: Path | None) -> int | None:
        found = probe.read_model(model, store)
        assert found
        return found.anatomy.parameters if found.anatomy else None

    assert parameters(store) is None
    kept.write_bytes(recorded)
    assert parameters(store) == 124_439_808
    assert parameters(None) is None
    kept.write_bytes(recorded[:99])
    assert parameters(store) is None
    (model / "manifest.json").write_text(json.dumps({"summary": {"anatomy": json.loads(recorded)}}))
    assert parameters(store) == 124_439_808
