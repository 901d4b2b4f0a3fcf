"""The negative control: a checkpoint whose random state was replaced, sealed again as if nothing had happened.

Nothing in the program under test can do this; it is done to its files. If the comparison does not notice, it proves nothing.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any


def replace_random_state(checkpoint: Path, older: Path) -> list[str]:
    """Put the random state of an older checkpoint into this one, wherever it is kept; says where that was."""
    changed = []
    for path in sorted(p for p in checkpoint.rglob("*") if p.is_file() and p.name != "manifest.json"):
        other = older / path.relative_to(checkpoint)
        before = path.read_bytes()
        if "rng" in path.name:
            shutil.copyfile(other, path)
        elif path.suffix == ".safetensors":
            path.write_bytes(_with_tensors(before, other.read_bytes()))
        elif path.suffix == ".json":
            given, _ = json.loads(before), json.loads(other.read_bytes())
            if _take(given, _):
                path.write_text(json.dumps(given), encoding="utf-8")
        if path.read_bytes() != before:
            changed.append(path.relative_to(checkpoint).as_posix())
    return changed


def seal_again(checkpoint: Path) -> None:
    """Make the manifest agree with the files as they are."""
    manifest = checkpoint / "manifest.json"
    if not manifest.exists():
        return
    told = json.loads(manifest.read_text(encoding="utf-8"))
    for file in told["files"]:
        data = (checkpoint / file["path"]).read_bytes()
        file |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def _with_tensors(data: bytes, other: bytes) -> bytes:
    """Every tensor whose name speaks of random state, taken from the other file."""
    header, start = _header(data)
    theirs, their_start = _header(other)
    made = bytearray(data)
    for name in header:
        if not _is_random(name) or name not in theirs:
            continue
        begin, end = header[name]["data_offsets"]
        their_begin, their_end = theirs[name]["data_offsets"]
        if end - begin == their_end - their_begin:
            made[start + begin : start + end] = other[their_start + their_begin : their_start + their_end]
    return bytes(made)


def _is_random(name: str) -> bool:
    """By what either column calls it."""
    return "rng" in name or "random" in name


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    start = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:start]), start


def _take(given: Any, other: Any) -> bool:
    """Every key that speaks of random state, at any depth, taken from the other document; whether anything changed."""
    if not isinstance(given, dict) or not isinstance(other, dict):
        return False
    changed = False
    for key in given.keys() & other.keys():
        if _is_random(key):
            changed |= given[key] != other[key]
            given[key] = other[key]
        else:
            changed |= _take(given[key], other[key])
    return changed
