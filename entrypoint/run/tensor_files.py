"""The safetensors files of a model folder: read tensor by tensor, written in shards of bounded size."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from schemas.errors import GateRefused

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
SHARD_BYTES = 2 * 1024**3
"""Of a file that is written, but for a tensor that is larger by itself; as much lies in memory at once."""


def places(folder: Path) -> dict[str, str]:
    """Name of each tensor -> the file that holds it, in the order of the files. Raises GateRefused for files that do not belong together."""
    index = folder / INDEX
    if index.is_file():
        said = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = sorted(set(said.values()))
    else:
        said, files = None, [SINGLE]
    found = {name: file for file in files for name in _names(folder / file)}
    if said is not None and (absent := sorted(set(said) - set(found))):
        raise GateRefused(
            f"{folder / said[absent[0]]} lacks {absent[0]}, which the index says it has", "fetch or train again: the files do not belong together"
        )
    return found


def _names(path: Path) -> list[str]:
    """In the order in which they lie in the file."""
    with _opened(path) as held:
        return list(held.offset_keys())


def _opened(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, FileNotFoundError) as error:
        said = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
        raise GateRefused(f"{path} {said}", "the file is cut or damaged: run the stage that made it again") from None


def read_tensor(path: Path, name: str) -> Any:
    """One tensor, copied: the file is mapped for that moment only, so that what was read before does not stay in memory."""
    with _opened(path) as held:
        return held.get_tensor(name).clone()


def read_all(folder: Path, found: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """Every tensor of `places`, one at a time."""
    for name, file in found.items():
        yield name, read_tensor(folder / file, name)


def count_weights(folder: Path) -> int:
    """Numbers in all tensors of a folder, from the headers alone."""
    total = 0
    for file in sorted(set(places(folder).values())):
        with _opened(folder / file) as held:
            total += sum(math.prod(held.get_slice(name).get_shape()) for name in held.offset_keys())
    return total


class TensorWriter:
    """Collects tensors into files of at most SHARD_BYTES; `close` gives them the names that every loader knows."""

    def __init__(self, folder: Path, shard_bytes: int = SHARD_BYTES):
        self.folder, self.shard_bytes = folder, shard_bytes
        self.held: dict[str, Any] = {}
        self.held_bytes = self.total_bytes = 0
        self.shards: list[list[str]] = []

    def add(self, name: str, tensor: Any) -> None:
        """Take a tensor; it is written once enough have come together."""
        size = tensor.numel() * tensor.element_size()
        if self.held and self.held_bytes + size > self.shard_bytes:
            self._flush()
        self.held[name] = tensor.contiguous()
        self.held_bytes += size
        self.total_bytes += size

    def _flush(self) -> None:
        from safetensors.torch import save_file

        save_file(self.held, self._draft(len(self.shards)), metadata={"format": "pt"})
        self.shards.append(list(self.held))
        self.held, self.held_bytes = {}, 0

    def _draft(self, number: int) -> Path:
        return self.folder / f"shard-{number}.draft"

    def close(self) -> int:
        """Write what is left, and the index where there are several files. Returns the bytes of all tensors."""
        if self.held:
            self._flush()
        if len(self.shards) == 1:
            self._draft(0).rename(self.folder / SINGLE)
            return self.total_bytes
        names = [f"model-{number:05d}-of-{len(self.shards):05d}.safetensors" for number in range(1, len(self.shards) + 1)]
        for number, name in enumerate(names):
            self._draft(number).rename(self.folder / name)
        where = {tensor: name for name, tensors in zip(names, self.shards, strict=True) for tensor in tensors}
        index = {"metadata": {"total_size": self.total_bytes}, "weight_map": dict(sorted(where.items()))}
        (self.folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
        return self.total_bytes
