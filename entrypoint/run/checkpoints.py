"""Sealed checkpoints of a run: which is the newest that can be trusted, and which may go."""

import shutil
from collections.abc import Callable
from pathlib import Path

from entrypoint.run.seal import faults, read_manifest, seal
from schemas.manifest import Manifest

PREFIX = "step-"


def seal_checkpoint(written: Path, step: int, program: str) -> Path:
    """Seal what the trainer wrote and give it its name; an unsealed folder is never resumed from."""
    final = written.with_name(f"{PREFIX}{step}")
    if final.exists():  # the same step again, after a resume from before it
        shutil.rmtree(final)
    seal(written, final, Manifest(stage="checkpoint", name=final.name, identity=final.name, request="", job={}, program=program, files=()))
    return final


def newest_valid(folder: Path, say: Callable[[str], None]) -> Path | None:
    """The newest checkpoint whose every byte is as it was sealed; says which were passed over and why."""
    for path in sorted(folder.glob(f"{PREFIX}*"), key=_step, reverse=True):
        manifest = read_manifest(path)
        found = ["it was never sealed"] if manifest is None else faults(path, manifest, hashes=True)
        if not found:
            return path
        say(f"  passes over {path.name}: {found[0]}")
    return None


def remove_old(folder: Path, keep: int) -> None:
    """Leave the newest `keep`; call only after a new one is sealed."""
    for path in sorted(folder.glob(f"{PREFIX}*"), key=_step, reverse=True)[keep:]:
        shutil.rmtree(path)


def _step(path: Path) -> int:
    tail = path.name.removeprefix(PREFIX)
    return int(tail) if tail.isdigit() else -1
