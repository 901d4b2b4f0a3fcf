"""How fast the store's disk takes a checkpoint: measured where it is written, and remembered there."""

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path

from entrypoint.run.seal import write_durably
from schemas.facts import DISK_SPEED, SLOWEST, DiskSpeed, read_disk_speed

CHUNK = 16 * 2**20
"""Bytes between two flushes: large enough that a flush is a small part of them."""

SECONDS = 0.25
"""After which no further chunk is begun."""

OLD_SECONDS = 30 * 24 * 3600
"""A disk may be moved, grow or be shared since."""


def know_disk(root: Path) -> None:
    """Measure once, and again when that is long ago. A disk that is full or may not be written stays unknown: the stage says so itself."""
    if _known(root):
        return
    with suppress(OSError):
        remember_disk(root, measure(root))


def remember_disk(root: Path, gib_per_second: float) -> None:
    """As measured now. Raises OSError."""
    speed = DiskSpeed(gib_per_second=max(SLOWEST, round(gib_per_second, 4)), measured_at=time.time())
    write_durably(root / DISK_SPEED, speed.model_dump_json() + "\n")


def measure(folder: Path) -> float:
    """GiB a second, as checkpoints are written: one stream, hashed, flushed. Takes CHUNK bytes of room. Raises OSError."""
    chunk = os.urandom(CHUNK)  # some disks compress
    draft = folder / f".disk-speed-{os.getpid()}"
    written, began = 0, time.monotonic()
    try:
        with draft.open("wb", buffering=0) as stream:
            while written == 0 or time.monotonic() - began < SECONDS:
                stream.seek(0)
                hashlib.sha256(chunk)
                left = memoryview(chunk)
                while len(left):
                    left = left[stream.write(left) :]
                os.fsync(stream.fileno())
                written += CHUNK
    finally:
        draft.unlink(missing_ok=True)
    return written / (time.monotonic() - began) / 2**30


def _known(root: Path) -> bool:
    try:
        found = read_disk_speed((root / DISK_SPEED).read_bytes())
    except OSError:
        return False
    return found is not None and 0 <= time.time() - found.measured_at < OLD_SECONDS
