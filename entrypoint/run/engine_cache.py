"""What an engine compiles and finds out about a model, kept on the store: the second start needs not do it again.

One folder for each set of image packages and model: what was compiled with other kernels, or for other shapes, is never found.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from entrypoint.run.control import digest
from entrypoint.run.seal import read_manifest, write_durably

FOLDER = "cache"
VARIABLES = {
    "VLLM_CACHE_ROOT": "vllm",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
    "FLASHINFER_WORKSPACE_BASE": "flashinfer",
}
"""Environment variables of an engine's libraries, and the folders that they are given."""

CAPACITY = "capacity.json"
SAME = 0.01
"""Share by which two starts' capacities may differ: memory that others use on a GPU is not always the same to the byte."""


def cache_folder(store: Path, image_lock: str, exported: Path) -> Path:
    """Where it lies; the folder is made. Its name holds the digests of the image's packages and of the model's files."""
    manifest = read_manifest(exported)
    folder = store / FOLDER / f"{image_lock[:16] or 'unlocked'}-{manifest.content[:16] if manifest else exported.name}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def environment(folder: Path) -> dict[str, str]:
    """What the engine's process is given."""
    return {name: str(folder / part) for name, part in VARIABLES.items()}


def remember_capacity(folder: Path, arguments: Sequence[str], tokens: int) -> int:
    """Keep how many tokens an engine's key-value cache holds; returns what it was at the first start with the same arguments, 0 at the first."""
    file, key = folder / CAPACITY, digest("\0".join(arguments))[:16]
    try:
        known = dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        known = {}
    before = known.get(key, 0)
    if not before and tokens:
        write_durably(file, json.dumps(known | {key: tokens}))
    return int(before) if isinstance(before, int) else 0


def differs(tokens: int, before: int) -> bool:
    """Whether a start has another capacity than the first, where both are known."""
    return bool(tokens and before and abs(tokens - before) > SAME * before)
