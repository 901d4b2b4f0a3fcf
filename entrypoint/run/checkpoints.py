"""Sealed checkpoints of a run: which is the newest that can be trusted, and which may go."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from entrypoint.run.seal import faults, read_manifest, seal
from schemas.manifest import File, Manifest

CHECKPOINTS = "checkpoints"
"""Folder beside what a training fills."""

PREFIX = "step-"
DAMAGED = ".damaged-"
PARTIAL = ".partial-"


def seal_checkpoint(written: Path, step: int, manifest: Manifest, known: Mapping[str, File] | None = None) -> Path:
    """Seal what the trainer wrote and give it its name; an unsealed folder is never resumed from.

    `known` are files that were flushed and hashed while they were written.
    """
    final = written.with_name(f"{PREFIX}{step}")
    if final.exists():  # the same step again, after a resume from before it
        shutil.rmtree(final)
    seal(written, final, manifest, known or {})
    return final


def newest_sealed(folder: Path) -> tuple[int, Manifest] | None:
    """The newest checkpoint that has a manifest and its files in their sizes: what `newest_valid` will choose unless bytes changed."""
    for path in sorted(folder.glob(f"{PREFIX}*"), key=_step, reverse=True):
        manifest = read_manifest(path)
        if manifest is not None and not faults(path, manifest, hashes=False):
            return _step(path), manifest
    return None


def newest_valid(folder: Path, say: Callable[[str], None]) -> Path | None:
    """The newest checkpoint whose every byte is as it was sealed; says which were passed over and why."""
    for path in sorted(folder.glob(f"{PREFIX}*"), key=_step, reverse=True):
        manifest = read_manifest(path)
        found = ["it was never sealed"] if manifest is None else faults(path, manifest, hashes=True)
        if not found:
            return path
        say(f"  passes over {path.name}: {found[0]}")
    return None


def clear_the_way(folder: Path, resumed: Path | None) -> None:
    """Before training goes on: half-written folders go, and what was passed over no longer counts as a checkpoint."""
    for path in folder.glob(f"{PARTIAL}*"):
        shutil.rmtree(path)
    for path in folder.glob(f"{PREFIX}*"):
        if resumed is None or _step(path) > _step(resumed):
            aside = path.with_name(f"{DAMAGED}{path.name}")
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)


def remove_old(folder: Path, keep: int, spare: int | None = None) -> None:
    """Leave the newest `keep`, and the one of step `spare`; call only after a new one is sealed."""
    for path in sorted(folder.glob(f"{PREFIX}*"), key=_step, reverse=True)[keep:]:
        if _step(path) != spare:
            shutil.rmtree(path)


def valid_at(folder: Path, step: int) -> Path | None:
    """The checkpoint of one step, where every byte is as it was sealed."""
    path = folder / f"{PREFIX}{step}"
    manifest = read_manifest(path)
    return path if manifest is not None and not faults(path, manifest, hashes=True) else None


def _step(path: Path) -> int:
    tail = path.name.removeprefix(PREFIX)
    return int(tail) if tail.isdigit() else -1
