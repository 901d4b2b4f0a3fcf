"""Where the adapter of a run lies in the store, and what it says of itself."""

import json
from pathlib import Path
from typing import Any

from entrypoint.run.store import Store
from entrypoint.run.weights import WEIGHTS

CONFIG = "adapter_config.json"
CONFIG_BYTES = 2**20
"""No config is larger."""


def newest_adapter(store: Store, run: str) -> tuple[Path, str] | None:
    """Folder of the newest sealed adapter of a run, and the content digest of its base. An export of an adapter goes before what training
    left; None where neither is there."""
    for kind, inside in (("exports", ""), ("train", WEIGHTS)):
        found = [sealed for sealed in store.sealed(f"{run}/{kind}") if (store.root / sealed.folder / inside / CONFIG).is_file()]
        newest = max(found, key=lambda sealed: sealed.manifest.finished_at, default=None)
        if newest:
            return store.root / newest.folder / inside, newest.manifest.inputs.get("model", "")
    return None


def read_adapter(folder: Path) -> dict[str, Any] | None:
    """adapter_config.json; None where there is none that can be read."""
    path = folder / CONFIG
    try:
        if not path.is_file() or path.stat().st_size > CONFIG_BYTES:
            return None
        config = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return config if isinstance(config, dict) else None
