"""What a teacher said of prepared rows, in safetensors files: written part by part, read row by row.

A file SPLIT-NNNNN.safetensors holds `ids` int32 (places, k), `logprobs` float32 (places, k) and `starts` int64 (rows + 1,): of row i the places
starts[i]:starts[i + 1], one for each of its tokens that carries loss and has one before it. Its rows follow those of the file before.
"""

import hashlib
import os
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from entrypoint.run.answer_forms import Answer

SEEN = "sha256"
"""In a file's metadata: of its arrays, so that a part that was damaged is asked for again."""


def places_of(supervised: np.ndarray) -> np.ndarray:
    """Numbers of a row's tokens that are learned, int64: the first has nothing before it that it could be guessed from."""
    found: np.ndarray = np.flatnonzero(supervised[1:]) + 1
    return found


def write_part(folder: Path, split: str, number: int, rows: list[Answer]) -> None:
    """One file, durably: it is whole or it is not there. The same answers give the same bytes."""
    starts = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row.ids) for row in rows], out=starts[1:])
    arrays = {"ids": np.concatenate([row.ids for row in rows]), "logprobs": np.concatenate([row.logprobs for row in rows]), "starts": starts}
    path = part_file(folder, split, number)
    draft = path.with_suffix(".draft")
    save_file(arrays, draft, metadata={SEEN: _digest(arrays)})
    with draft.open("rb") as stream:
        os.fsync(stream.fileno())
    draft.replace(path)


def part_file(folder: Path, split: str, number: int) -> Path:
    """Where a part lies."""
    return folder / f"{split}-{number:05d}.safetensors"


def is_whole(path: Path, lengths: list[int], k: int) -> bool:
    """Whether a part is there with so many places of each row, and as it was written."""
    try:
        with safe_open(path, "np") as file:
            arrays = {name: file.get_tensor(name) for name in ("ids", "logprobs", "starts")}
            said = (file.metadata() or {}).get(SEEN)
    except (OSError, SafetensorError):
        return False
    return np.diff(arrays["starts"]).tolist() == lengths and arrays["ids"].shape == (sum(lengths), k) and said == _digest(arrays)


def _digest(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()


class Answers:
    """The answers of one split by the numbers of its rows; files are mapped, not read."""

    def __init__(self, folder: Path, split: str):
        self.files = [safe_open(path, "np") for path in sorted(folder.glob(f"{split}-*.safetensors"))]
        self.starts = [file.get_tensor("starts") for file in self.files]
        self.firsts = np.cumsum([0, *(len(starts) - 1 for starts in self.starts)])

    def __len__(self) -> int:
        return int(self.firsts[-1])

    def __getitem__(self, row: int) -> Answer:
        file = int(np.searchsorted(self.firsts, row, side="right")) - 1
        start, end = self.starts[file][row - self.firsts[file] :][:2]
        return Answer(*(self.files[file].get_slice(name)[int(start) : int(end)] for name in ("ids", "logprobs")))

    def nothing(self) -> Answer:
        """Of a row that no loss is taken from."""
        return Answer(*(self.files[0].get_slice(name)[0:0] for name in ("ids", "logprobs")))
