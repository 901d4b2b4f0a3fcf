"""What a stopped prepare goes on from: after each part of the rows, its shards and a sealed record of all that was counted so far."""

import json
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from entrypoint.run.row_files import Place
from entrypoint.run.seal import write_durably
from entrypoint.run.tally import Tally

RECORDS = "part-"
SEEN = "sha256"
"""In a record: of all else in it. A flipped bit in a place or a count would make other rows of the rest, and no shard would show it."""


class Parts:
    """The records in one output folder. A record counts only with its shards whole and in one unbroken row from the first."""

    def __init__(self, folder: Path, job: str):
        self.folder, self.job = folder, sha256(job.encode()).hexdigest()
        self.number = 0
        """Parts that are sealed."""

    def seal(self, tally: Tally, places: dict[int, Place], keys: dict[str, np.ndarray], shards: list[Path], *, ended: bool = False) -> None:
        """Record a part whose shards are written: `keys` are the contents that it added, by split; reading goes on at `places`, by source. `ended`: no
        further part follows."""
        files = {path.name: _hash(path) for path in shards}
        for split, added in keys.items():
            path = self.folder / f"{RECORDS}{self.number:05d}.{split}.keys"
            path.write_bytes(added.astype("<u8").tobytes())
            files[path.name] = _hash(path)
        at = {str(source): asdict(place) for source, place in places.items()}
        record = {"job": self.job, "files": files, "places": at, "ended": ended, "tally": asdict(tally)}
        write_durably(self._record(self.number), json.dumps({**record, SEEN: _digest(record)}))
        self.number += 1

    def is_sealed(self, number: int) -> bool:
        """Whether there is a record of this part, read or not."""
        return self._record(number).is_file()

    def _record(self, number: int) -> Path:
        return self.folder / f"{RECORDS}{number:05d}.json"

    def resume(self) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
        """The last record that counts, and all keys by split; everything behind it is deleted. None to begin at the start."""
        found: dict[str, Any] | None = None
        keys: dict[str, list[np.ndarray]] = {"train": [], "validation": []}
        known: set[str] = set()
        while record := self.read(self.number):
            found = record
            known |= {self._record(self.number).name, *record["files"]}
            for split, lists in keys.items():
                path = self.folder / f"{RECORDS}{self.number:05d}.{split}.keys"
                lists.append(np.frombuffer(path.read_bytes(), dtype="<u8").astype(np.uint64).reshape(-1, 2))
            self.number += 1
        for path in self.folder.iterdir():
            if path.is_file() and path.name not in known:
                path.unlink()
        return (found, {split: np.concatenate(lists) for split, lists in keys.items()}) if found else None

    def read(self, number: int) -> dict[str, Any] | None:
        """The record of a part, where that and all its files are whole."""
        try:
            record: dict[str, Any] = json.loads(self._record(number).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        if not isinstance(record, dict) or record.pop(SEEN, None) != _digest(record):
            return None
        if record["job"] != self.job or any(_hash(self.folder / name) != said for name, said in record["files"].items()):
            return None
        return record

    def clear(self) -> None:
        """Delete the records: the shards are whole."""
        for path in self.folder.glob(f"{RECORDS}*"):
            path.unlink()


def _digest(record: dict[str, Any]) -> str:
    return sha256(json.dumps(record).encode()).hexdigest()


def _hash(path: Path) -> str:
    digest = sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(2**20):
                digest.update(block)
    except OSError:
        return ""
    return digest.hexdigest()
