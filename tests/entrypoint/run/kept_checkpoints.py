"""Checkpoints as a trainer leaves them, for tests of which is gone on from."""

from collections.abc import Callable
from pathlib import Path

from entrypoint.run.checkpoints import newest_valid, seal_checkpoint
from schemas.manifest import Manifest

WORK = "0" * 16
MANIFEST = Manifest(stage="checkpoint", name="tiny", identity=WORK, request="", job={"ranks": 1}, program="0.1.0", files=())
TENSORS, NOTES = "rank-00000.safetensors", "rank-00000.json"


def write(folder: Path, step: int, *, sealed: bool = True, manifest: Manifest = MANIFEST, ranks: int = 1) -> Path:
    """A checkpoint, as the trainer leaves it."""
    draft = folder / (f"checkpoint-{step}" if sealed else f"step-{step}")
    draft.mkdir(parents=True)
    (draft / "state.json").write_text("{}")
    for rank in range(ranks):
        (draft / f"rank-{rank:05d}.safetensors").write_bytes(bytes(range(256)) * 20)
        (draft / f"rank-{rank:05d}.json").write_bytes(f"step {step}".encode() * 50)
    return seal_checkpoint(draft, step, manifest) if sealed else draft


def flip(path: Path, at: int, bit: int = 0) -> None:
    """Turn one bit of a file over."""
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << bit
    path.write_bytes(content)


def newest(folder: Path) -> tuple[str | None, list[str]]:
    """Name of the checkpoint that is gone on from, and what is said of those passed over."""
    said: list[str] = []
    found = newest_valid(folder, WORK, said.append)
    return found.name if found else None, said


def edit(folder: Path, change: Callable[[Manifest], Manifest]) -> None:
    """Change a manifest behind the seal."""
    path = folder / "manifest.json"
    path.write_text(change(Manifest.model_validate_json(path.read_text())).model_dump_json())
