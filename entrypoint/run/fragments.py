"""Files of a checkpoint's tensors: every parameter's state in flat pieces, so that any number of processes can read what others wrote.

A key is KIND/NAME@START: elements START, START+1, ... of the flattened tensor KIND (weight, exp_avg, ...) of parameter NAME. A KIND that
begins with WHOLE is not cut up: it has a shape of its own, such as a number for each row. The files are safetensors; they are written here and not by its library because the hash is taken while the bytes pass, without the interpreter's
lock: reading a file again to hash it takes as long as writing it.
"""

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from entrypoint.run.seal import read_manifest
from schemas.errors import GateRefused
from schemas.manifest import File

CHUNK = 16 << 20
WHOLE = "whole:"
NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


@dataclass(frozen=True)
class Fragment:
    """A flat piece of one tensor, or a whole one of any shape, where it lies in memory now."""

    kind: str
    name: str
    start: int
    tensor: torch.Tensor
    """Of shape (elements,), but of any shape for a kind that begins with WHOLE."""

    @property
    def key(self) -> str:
        return f"{self.kind}/{self.name}@{self.start}"


def write_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> File:
    """Write CPU tensors durably; returns size and hash of what was written."""
    header: dict[str, Any] = {}
    at = 0
    for key, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        header[key] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    digest, total = hashlib.sha256(), 0
    with path.open("wb", buffering=0) as stream:
        for piece in (len(text).to_bytes(8, "little"), text, *_bytes(tensors.values())):
            view = memoryview(piece)
            while len(view):
                written = stream.write(view[:CHUNK])
                digest.update(view[:written])
                total += written
                view = view[written:]
        os.fsync(stream.fileno())
    return File(path=path.name, bytes=total, sha256=digest.hexdigest())


def _bytes(tensors: Iterable[torch.Tensor]) -> Iterable[Any]:
    for tensor in tensors:
        if tensor.numel():
            yield memoryview(tensor.contiguous().view(-1).view(torch.uint8).numpy())


def listed_tensors(folder: Path) -> list[str]:
    """Files of tensors that a checkpoint's manifest lists."""
    sealed = read_manifest(folder)
    return [file.path for file in sealed.files if file.path.endswith(".safetensors")] if sealed else []


class FragmentReader:
    """What all processes wrote, found by parameter and range."""

    def __init__(self, folder: Path, names: Iterable[str] | None = None):
        """`names` are the files to read, as a rule those that the manifest lists: another that lies beside them is nobody's word."""
        from safetensors import safe_open

        self.folder = folder
        self.places: dict[tuple[str, str], list[tuple[int, Any, str]]] = defaultdict(list)
        for file in sorted(listed_tensors(folder) if names is None else names):
            opened = safe_open(folder / file, framework="pt")
            for key in opened.keys():  # noqa: SIM118  (safe_open is no mapping)
                kind, _, rest = key.partition("/")
                name, _, start = rest.rpartition("@")
                self.places[kind, name].append((int(start), opened, key))

    def kinds(self, name: str) -> list[str]:
        """What was kept of a parameter."""
        return sorted(kind for kind, of in self.places if of == name)

    def whole(self, kind: str, name: str) -> torch.Tensor:
        """A tensor that was not cut up, in its own shape."""
        (_, opened, key) = self.places[kind, name][0]
        return opened.get_tensor(key)

    def read(self, kind: str, name: str, start: int, count: int) -> torch.Tensor:
        """Elements `start` to `start + count`, flat; GateRefused where one of them is nowhere."""
        found: torch.Tensor | None = None
        have = 0
        for first, opened, key in sorted(self.places.get((kind, name), ()), key=lambda place: place[0]):
            piece = opened.get_tensor(key)
            low, high = max(start, first), min(start + count, first + piece.numel())
            if low < high:
                found = torch.empty(count, dtype=piece.dtype) if found is None else found
                found[low - start : high - start] = piece[low - first : high - first]
                have += high - low
        if found is None or have != count:
            raise GateRefused(f"{self.folder.name} holds {have} of {count} elements of {kind} of {name}", "it was made for another model; remove it")
        return found
