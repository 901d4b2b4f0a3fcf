"""Damaged and made-up GGUF headers: refused in words or let through, never a traceback, and never read beyond what the file holds."""

import struct
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

pytest.importorskip("hypothesis")  # of the host's environment alone

from hypothesis import given, settings
from hypothesis import strategies as st

from entrypoint.run.scan import check_gguf
from schemas.errors import GateRefused

FAST = settings(max_examples=400, deadline=None, derandomize=True)
FAR = 2**64 - 1


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def pair(key: bytes, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def info(name: bytes, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def gguf(pairs: list[bytes], infos: list[bytes], data: bytes, version: int = 3) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, len(infos), len(pairs)) + b"".join(pairs) + b"".join(infos)
    return head + bytes(-len(head) % 32) + data


GOOD = gguf(
    [
        pair(b"general.architecture", 8, text(b"llama")),
        pair(b"tokens", 9, struct.pack("<IQ", 8, 3) + text(b"a") + text(b"") + text(b"ccc")),
        pair(b"scores", 9, struct.pack("<IQ3f", 6, 3, 1, 2, 3)),
        pair(b"general.alignment", 4, struct.pack("<I", 32)),
    ],
    [info(b"w", (4, 2), 0, 0), info(b"v", (32,), 8, 32)],
    bytes(32 + 34),
)


def judged(content: bytes) -> bool:
    """Whether a file passes; what is refused is refused with the file's name and something to do."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "m.gguf"
        path.write_bytes(content)
        try:
            check_gguf(path)
        except GateRefused as refused:
            assert refused.what.startswith(str(path)) and refused.fix
            return False
    return True


def test_the_good_file_passes_and_no_shorter_one_does() -> None:
    assert judged(GOOD)
    assert [end for end in range(len(GOOD)) if judged(GOOD[:end])] == []


@FAST
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 67), st.integers(0, 255)), min_size=1, max_size=6), st.integers(24, len(GOOD)))
def test_bytes_changed_and_the_end_cut(changes: list[tuple[int, int]], end: int) -> None:
    content = bytearray(GOOD)
    for at, value in changes:
        content[at] = value
    judged(bytes(content))
    judged(bytes(content[:end]))


@FAST
@given(st.integers(4, len(GOOD) - 74), st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**63, FAR]))
def test_any_eight_bytes_as_a_count(at: int, count: int) -> None:
    content = GOOD[:at] + struct.pack("<Q", count) + GOOD[at + 8 :]
    judged(content)


number = st.integers(0, 64) | st.sampled_from([2**32, 2**62, 2**63, FAR])
made_info = st.builds(
    info, st.binary(max_size=8), st.lists(number, max_size=6).map(tuple), st.integers(0, 50) | st.just(2**32 - 1), number
)  # fmt: skip
made_pair = st.builds(pair, st.binary(max_size=8) | st.just(b"general.alignment"), st.integers(0, 14), st.binary(max_size=24))


@FAST
@given(st.lists(made_pair, max_size=3), st.lists(made_info, max_size=3), st.binary(max_size=64), st.integers(1, 4))
def test_made_up_headers(pairs: list[bytes], infos: list[bytes], data: bytes, version: int) -> None:
    judged(gguf(pairs, infos, data, version))


@pytest.mark.parametrize("key", [b"k" * 65_536, b"k" * 200_000])
def test_a_key_longer_than_the_format_has_is_refused_before_it_is_read(key: bytes) -> None:
    assert not judged(gguf([pair(key, 4, struct.pack("<I", 1))], [info(b"w", (1,), 0, 0)], bytes(32)))


@pytest.mark.parametrize("alignment", [0, 3, 2**31 + 1])
def test_an_alignment_that_is_none(alignment: int) -> None:
    assert not judged(gguf([pair(b"general.alignment", 4, struct.pack("<I", alignment))], [info(b"w", (1,), 0, 0)], bytes(64)))
