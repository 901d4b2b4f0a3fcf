"""Whether a safetensors file is what its header says. Reads the header and the size, never a tensor.

Format: 8 bytes little-endian length N, N bytes of JSON, then the tensors without a gap (github.com/huggingface/safetensors, README).
"""

import json
import math
import struct
from pathlib import Path
from typing import Any

HEADER_BYTES = 100_000_000
"""Longest header; the limit of the safetensors library itself."""

BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64, "C64": 64,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
"""Bits of one element (safetensors, src/tensor.rs)."""


class BadHeader(Exception):
    """What is wrong with the file."""


def check_safetensors(path: Path) -> frozenset[str]:
    """Names of its tensors. Raises BadHeader for the first thing that does not fit."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(8)
        if len(head) < 8:
            raise BadHeader(f"only {size} bytes, not a safetensors file")
        (length,) = struct.unpack("<Q", head)
        if length > min(HEADER_BYTES, size - 8):
            raise BadHeader(f"its header claims {length} bytes, the file has {size}: cut off, or not a safetensors file")
        try:
            header = json.loads(stream.read(length), object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            raise BadHeader(f"its header is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise BadHeader("its header is not a JSON object")
    end = _check_tensors(header)
    if 8 + length + end != size:
        raise BadHeader(f"its header describes {8 + length + end} bytes, the file has {size}: cut off, or something is hidden behind the tensors")
    return frozenset(header) - {"__metadata__"}


def _check_tensors(header: dict[str, Any]) -> int:
    """Bytes of all tensors, which must follow each other without gap or overlap."""
    spans = sorted((_span(name, entry), name) for name, entry in header.items() if name != "__metadata__")
    if not spans:
        raise BadHeader("it holds no tensor")
    at = 0
    for (begin, end), name in spans:
        if begin != at:
            raise BadHeader(f"tensor {name!r} starts at byte {begin}, not at {at}: tensors overlap or leave a gap")
        at = end
    return at


def _span(name: str, entry: Any) -> tuple[int, int]:
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        numbers = [*shape, begin, end]
    except (TypeError, KeyError, ValueError):
        raise BadHeader(f"tensor {name!r} lacks dtype, shape or data_offsets") from None
    if not all(type(n) is int and n >= 0 for n in numbers):  # bool is an int too, and true is no size
        raise BadHeader(f"tensor {name!r} has a size that is not a whole number")
    if not isinstance(dtype, str) or dtype not in BITS:
        raise BadHeader(f"tensor {name!r} has the unknown type {dtype!r}")
    wanted = math.prod(shape) * BITS[dtype]
    if begin > end or (end - begin) * 8 != wanted:
        raise BadHeader(f"tensor {name!r} needs {wanted / 8:g} bytes, its offsets span {end - begin}")
    return begin, end


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found
