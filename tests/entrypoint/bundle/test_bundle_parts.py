import subprocess

import pytest

from entrypoint.bundle.parts import Parts, read, squeeze, sum_of


@pytest.mark.parametrize("length", [0, 1, 9, 10, 11, 35])
def test_content_is_cut_at_the_size_and_comes_back_whole(tmp_path, length):
    content = bytes(range(length))
    written = Parts(tmp_path, 10).write("key", [content[:7], content[7:]])
    assert [part.bytes for part in written] == ([10] * (length // 10) + [length % 10] * bool(length % 10) or [0])
    assert b"".join((tmp_path / part.name).read_bytes() for part in written) == content
    assert all(sum_of(tmp_path / part.name) == part.sha256 for part in written)


def test_a_write_that_is_stopped_leaves_nothing_under_its_key_and_can_be_repeated(tmp_path):
    def stopped():
        yield b"x" * 25
        raise KeyboardInterrupt

    parts = Parts(tmp_path, 10)
    with pytest.raises(KeyboardInterrupt):
        parts.write("key", stopped())
    assert parts.find("key") == [] and not parts.known
    assert [part.bytes for part in parts.write("key", [b"y" * 12])] == [10, 2]


def test_another_part_size_is_another_content(tmp_path):
    Parts(tmp_path, 10).write("key", [b"z" * 30])
    assert Parts(tmp_path, 20).find("key") == []


def test_frames_one_after_the_other_are_one_stream(tmp_path):
    joined = b"".join(squeeze([b"one"], tmp_path / "spool")) + b"".join(squeeze([b"two"], tmp_path / "spool"))
    assert subprocess.run(["zstd", "-dc"], input=joined, capture_output=True, check=True).stdout == b"onetwo"
    assert not (tmp_path / "spool").exists()


def test_read_yields_the_file(tmp_path):
    (tmp_path / "f").write_bytes(b"a" * 3_000_000)
    assert b"".join(read(tmp_path / "f")) == b"a" * 3_000_000
