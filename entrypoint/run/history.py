"""What finished trainings measured, in the store: appended to, bounded, and never in a training's way."""

import fcntl
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from schemas.history import HISTORY, KEPT, Measured, read_history

CUT_AT = 2 * KEPT
"""Lines at which the file is written anew with the newest of them."""


def remember(root: Path, measured: Mapping[str, Any]) -> None:
    """Append one measurement, flushed. A disk that is full or may not be written loses it: the artifact is sealed, and worth more."""
    try:
        line = Measured.model_validate(dict(measured)).model_dump_json()
    except ValidationError:  # of a leaf in another version's image
        return
    with suppress(OSError):
        _append(root / HISTORY, line)


def _append(path: Path, line: str) -> None:
    """One at a time: runs of several specs share a store."""
    with path.open("a+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        stream.seek(0)
        content = stream.read()
        if content.count(b"\n") >= CUT_AT:
            kept = b"".join(one.model_dump_json().encode() + b"\n" for one in read_history(content)[1 - KEPT :])
            stream.truncate(0)  # in place: another process may wait for the lock of this very file
            stream.write(kept)
        elif content and not content.endswith(b"\n"):
            stream.write(b"\n")  # behind a line that was cut
        stream.write(line.encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
