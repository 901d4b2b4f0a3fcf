"""What a run left, compared bit for bit with what it would have left undisturbed."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EXACT = "survived exactly"
NOT_IDENTICAL = "survived, not identical"
LOUD = "failed loudly"
WRONG = "silently wrong"
OUTCOMES = (EXACT, NOT_IDENTICAL, LOUD, WRONG)

STREAM = ("step", "loss", "grad_norm", "learning_rate", "eval_loss")


@dataclass(frozen=True)
class Left:
    """The end of a run: a hash over its tensors, and every number of its loss stream."""

    tensors: str
    stream: tuple[tuple[Any, ...], ...]

    @property
    def digest(self) -> str:
        """Short, for rows."""
        return hashlib.sha256(repr((self.tensors, self.stream)).encode()).hexdigest()[:16]


def read_left(artifact: tuple[Path, Path] | None) -> Left | None:
    """None where the run did not end."""
    if artifact is None:
        return None
    weights, curve = artifact
    try:
        entries = json.loads(curve.read_text(encoding="utf-8"))
        return Left(hash_tensors(weights), tuple(tuple(e.get(key) for key in STREAM) for e in entries if "loss" in e or "eval_loss" in e))
    except (OSError, ValueError, KeyError):
        return None


def hash_tensors(folder: Path) -> str:
    """sha256 over name, type, shape and bytes of every tensor; what else stands in a header does not count."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        data = path.read_bytes()
        start = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:start])
        for name in sorted(set(header) - {"__metadata__"}):
            about = header[name]
            begin, end = about["data_offsets"]
            digest.update(f"{name} {about['dtype']} {about['shape']} ".encode() + data[start + begin : start + end])
    return digest.hexdigest()


def outcome(code: int | str, left: Left | None, undisturbed: Left, sound: Callable[[], Left | None]) -> str:
    """`sound`: what is left by a run that was stopped between two saves and went on from the same checkpoints, all of them sound.

    A run that ends well but leaves neither what the undisturbed run left nor what going on from sound checkpoints leaves has learned from
    something damaged.
    """
    if code != 0:
        return LOUD
    if left == undisturbed:
        return EXACT
    return NOT_IDENTICAL if left is not None and left == sound() else WRONG
