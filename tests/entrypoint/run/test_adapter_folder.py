"""Which adapter of a run is served: the newest sealed one, an export of it before what training left."""

import json
from pathlib import Path
from typing import Any

from entrypoint.run.adapter_folder import newest_adapter, read_adapter
from entrypoint.run.seal import seal
from entrypoint.run.store import Store
from schemas.manifest import Manifest


def make(root: Path, kind: str, name: str, when: str, *, inside: str = "", config: Any = None, base: str = "base") -> Path:
    """A sealed artifact, with an adapter in it where there is a config."""
    partial = root / "run" / kind / f".partial-{name}"
    (partial / inside).mkdir(parents=True)
    (partial / inside / "weights.bin").write_bytes(b"x")
    if config is not None:
        (partial / inside / "adapter_config.json").write_text(json.dumps(config))
    manifest = Manifest(stage=kind, name="run", identity=name * 64, request="r", inputs={"model": base}, job={}, program="0", finished_at=when, files=())
    final = root / "run" / kind / (name * 16)
    seal(partial, final, manifest)
    return final / inside if inside else final


def test_nothing(tmp_path: Path) -> None:
    assert newest_adapter(Store(tmp_path), "run") is None
    make(tmp_path, "train", "a", "2026-01-01", inside="weights")  # a whole model
    assert newest_adapter(Store(tmp_path), "run") is None


def test_the_newest(tmp_path: Path) -> None:
    make(tmp_path, "train", "b", "2026-01-02", inside="weights", config={"r": 8}, base="one")
    wanted = make(tmp_path, "train", "a", "2026-01-03", inside="weights", config={"r": 16}, base="two")
    make(tmp_path, "train", "c", "2026-01-04", inside="weights")
    found = newest_adapter(Store(tmp_path), "run")
    assert found == (wanted, "two") and read_adapter(found[0]) == {"r": 16}


def test_an_export_goes_first(tmp_path: Path) -> None:
    wanted = make(tmp_path, "exports", "a", "2026-01-01", config={"r": 8})
    make(tmp_path, "exports", "b", "2026-01-02")  # merged
    make(tmp_path, "train", "c", "2026-01-03", inside="weights", config={"r": 16})
    assert newest_adapter(Store(tmp_path), "run") == (wanted, "base")


def test_unsealed_counts_not(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "train" / ("a" * 16) / "weights"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    assert newest_adapter(Store(tmp_path), "run") is None


def test_configs_that_are_none(tmp_path: Path) -> None:
    for text in ("", "[]", "[" * 100_000, "\xff"):
        (tmp_path / "adapter_config.json").write_text(text, encoding="latin-1")
        assert read_adapter(tmp_path) is None
    assert read_adapter(tmp_path / "missing") is None
