"""Damaged and made-up model folders: each is refused in words or let through, never a traceback, and what passes the safetensors library reads too."""

import json
import struct
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

pytest.importorskip("hypothesis")  # of the host's environment alone

import safetensors as library
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_folder import model_files, write

from entrypoint.run.safetensors_header import BadHeader, check_safetensors
from entrypoint.run.scan import scan_model
from schemas.errors import GateRefused

GOOD = model_files()
FAST = settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
entry = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "BF16", "F4", "BOOL", "X", ""]) | plain,
        "shape": st.lists(st.integers(-2, 9), max_size=3) | plain,
        "data_offsets": st.lists(st.integers(-2, 64), min_size=2, max_size=2) | plain,
    },
)


def judged(content: bytes) -> bool:
    """Whether our check lets a file through; the library must then read it."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(content)
        try:
            check_safetensors(path)
        except BadHeader:
            return False
    library.deserialize(content)
    return True


@FAST
@given(st.dictionaries(st.text(max_size=8), entry | plain, max_size=4), st.binary(max_size=80))
def test_made_up_headers(header: dict, data: bytes) -> None:
    said = json.dumps(header).encode()
    judged(struct.pack("<Q", len(said)) + said + data)


@FAST
@given(st.integers(0, len(GOOD["model.safetensors"]) - 1), st.integers(0, 255), st.integers(0, len(GOOD["model.safetensors"])))
def test_one_byte_changed_or_the_end_cut(at: int, value: int, end: int) -> None:
    content = bytearray(GOOD["model.safetensors"])
    content[at] = value
    judged(bytes(content[: max(end, 1)]))
    judged(bytes(content))


def test_the_good_file_passes() -> None:
    assert judged(GOOD["model.safetensors"])


@FAST
@given(st.sampled_from(sorted(GOOD)), st.one_of(st.binary(max_size=64), plain.map(lambda value: json.dumps(value).encode())))
def test_any_file_replaced(name: str, content: bytes) -> None:
    with TemporaryDirectory() as folder:
        try:
            scan_model(write(Path(folder) / "m", {**GOOD, name: content}), "/models/m", False)
        except GateRefused as refused:
            assert refused.what.startswith("/models/m") and refused.fix


@FAST
@given(st.dictionaries(st.text(max_size=6), st.text(max_size=8) | plain, max_size=3) | plain, plain)
def test_any_index(shards: object, about: object) -> None:
    index = json.dumps({"weight_map": shards, "metadata": about}).encode()
    with TemporaryDirectory() as folder:
        try:
            scan_model(write(Path(folder) / "m", {**GOOD, "model.safetensors.index.json": index}), "/models/m", False)
        except GateRefused as refused:
            assert refused.what.startswith("/models/m") and refused.fix
