"""A whole file passes; one that ends anywhere before its end, or whose header lies, does not."""

import struct

import pytest

from entrypoint.run.gguf_header import BadGguf, check_gguf_header
from entrypoint.run.scan import check_gguf
from schemas.errors import GateRefused


def text(value):
    return struct.pack("<Q", len(value)) + value.encode()


def info(name, *dimensions, kind=0, offset=0):
    return text(name) + struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions) + struct.pack("<IQ", kind, offset)


PAIRS = {
    "general.architecture": struct.pack("<I", 8) + text("llama"),
    "flag": struct.pack("<I?", 7, True),
    "words": struct.pack("<IIQ", 9, 8, 2) + text("a") + text("bc"),
    "numbers": struct.pack("<IIQ3f", 9, 6, 3, 1.0, 2.0, 3.0),
    "general.alignment": struct.pack("<II", 4, 64),
}
TENSORS = (info("w", 32, 2), info("q", 256, kind=12, offset=256))
BYTES = 256 + 144
"""Of both tensors: 64 numbers of 4 bytes, one block of Q4_K."""


def gguf(pairs=PAIRS, tensors=TENSORS, data=BYTES, align=64):
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs))
    head += b"".join(text(key) + value for key, value in pairs.items()) + b"".join(tensors)
    return head + bytes(-len(head) % align) + bytes(data)


@pytest.fixture
def checked(tmp_path):
    def check(content):
        (tmp_path / "m.gguf").write_bytes(content)
        check_gguf_header(tmp_path / "m.gguf")

    return check


def test_whole(checked):
    checked(gguf())
    checked(gguf() + b"padding")
    checked(gguf({}, align=32))


def test_cut_off_anywhere(checked):
    whole = gguf()
    for end in range(24, len(whole)):
        with pytest.raises(BadGguf, match="cut off"):
            checked(whole[:end])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gguf({"k": struct.pack("<I", 99)}), "unknown type 99"),
        (gguf({"k": struct.pack("<IIQ", 9, 99, 1)}), "unknown type 99"),
        (gguf({"k": struct.pack("<IIQ", 9, 8, 2**60)}), "cut off"),
        (gguf({"k": struct.pack("<IIQ", 9, 12, 2**60)}), "cut off"),
        (gguf({"k": struct.pack("<IQ", 8, 2**63)}), "cut off"),
        (gguf({"general.alignment": struct.pack("<II", 4, 0)}), "no power of two"),
        (gguf({"general.alignment": struct.pack("<II", 4, 48)}), "no power of two"),
        (gguf({"general.alignment": struct.pack("<I", 8) + text("32")}), "no power of two"),
        (gguf(tensors=[info("w", 1, 1, 1, 1, 1)]), "5 dimensions"),
        (gguf(tensors=[info("w", 32, kind=77)]), "unknown type 77"),
        (gguf(tensors=[info("w", 100, kind=12)]), "no multiple of 256"),
        (gguf(tensors=[info("w", 2**40, 2**40)]), "cut off"),
        (gguf(tensors=[info("w", 32, offset=2**60)]), "cut off"),
    ],
)
def test_header_that_lies(checked, content, said):
    with pytest.raises(BadGguf, match=said):
        checked(content)


def test_refused_with_a_fix(tmp_path):
    (tmp_path / "m.gguf").write_bytes(gguf()[:-1])
    with pytest.raises(GateRefused, match=r"m\.gguf: its header describes \d+ bytes, the file has \d+: cut off") as refused:
        check_gguf(tmp_path / "m.gguf")
    assert refused.value.fix.startswith("download the file again")
