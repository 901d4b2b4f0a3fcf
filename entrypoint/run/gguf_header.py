"""Whether a GGUF file is as long as its header says. Reads the header and the size, never a tensor; standard library only.

Format: magic, version, counts, metadata, tensor infos, then the tensors from the next multiple of the alignment on
(github.com/ggml-org/ggml, docs/gguf.md).
"""

import math
import struct
from pathlib import Path
from typing import Any, BinaryIO

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Types of metadata with a fixed size, as `struct` writes them."""

STRING, ARRAY = 8, 9
ALIGNMENT, ALIGNMENT_KEY = 32, "general.alignment"
MOST_DIMENSIONS = 4
MOST_NAME = 65_535
"""Bytes of a key, of which the format says so, and of a tensor's name, which it holds to 64: longer ones are never read into memory."""

BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40), 10: (256, 84), 11: (256, 110), 12: (256, 144),
    13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip
"""Elements and bytes of one block, by type of tensor (gguf 0.19, constants.GGML_QUANT_SIZES)."""


class BadGguf(Exception):
    """What is wrong with the file."""


def check_gguf_header(path: Path) -> None:
    """Raise BadGguf for the first thing that does not fit."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        header = _Header(stream, size)
        header.skip(8)
        tensors, pairs = header.number("Q"), header.number("Q")
        alignment = ALIGNMENT
        for _ in range(pairs):
            key, value = header.text(), header.value(header.number("I"))
            if key == ALIGNMENT_KEY.encode():
                alignment = value
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            raise BadGguf(f"its {ALIGNMENT_KEY} is no power of two")
        ends = [header.tensor_end() for _ in range(tensors)]
        end = -(-header.at // alignment) * alignment + max(ends, default=0)
    if end > size:
        raise BadGguf(f"its header describes {end} bytes, the file has {size}: cut off")


class _Header:
    """Reads on from where it is; never beyond the end of the file, so that no count in it can keep this busy."""

    def __init__(self, stream: BinaryIO, size: int):
        self.stream, self.size, self.at = stream, size, 0

    def take(self, count: int) -> bytes:
        self._advance(count)
        return self.stream.read(count)

    def skip(self, count: int) -> None:
        self._advance(count)
        self.stream.seek(count, 1)

    def _advance(self, count: int) -> None:
        self.at += count
        if self.at > self.size:
            raise BadGguf(f"it ends inside its header, after {self.size} bytes: cut off")

    def number(self, kind: str) -> Any:
        return struct.unpack(f"<{kind}", self.take(struct.calcsize(f"<{kind}")))[0]

    def text(self) -> bytes:
        length = self.number("Q")
        if length > MOST_NAME:
            raise BadGguf(f"it has a name of {length} bytes, the format has at most {MOST_NAME}")
        return self.take(length)

    def value(self, kind: int, inside: bool = False) -> Any:
        """A number; None for what this check has no use for."""
        if kind in SCALARS:
            return self.number(SCALARS[kind])
        if kind == STRING:
            self.skip(self.number("Q"))
        elif kind == ARRAY and not inside:
            each, count = self.number("I"), self.number("Q")
            if each in SCALARS:
                self.skip(struct.calcsize(f"<{SCALARS[each]}") * count)
            else:
                for _ in range(count):
                    self.value(each, inside=True)
        else:
            raise BadGguf(f"its metadata has a value of the unknown type {kind}")
        return None

    def tensor_end(self) -> int:
        """Where a tensor's bytes end, from the start of all tensors."""
        name, dimensions = self.text().decode("utf-8", "replace"), self.number("I")
        if dimensions > MOST_DIMENSIONS:
            raise BadGguf(f"tensor {name!r} has {dimensions} dimensions")
        elements = math.prod(self.number("Q") for _ in range(dimensions))
        kind, offset = self.number("I"), self.number("Q")
        if kind not in BLOCKS:
            raise BadGguf(f"tensor {name!r} has the unknown type {kind}")
        block, each = BLOCKS[kind]
        if elements % block:
            raise BadGguf(f"tensor {name!r} has {elements} elements, which is no multiple of {block}")
        return int(offset + elements // block * each)
