"""Pickles by content, also those that begin with nothing that says so; and texts that look like them to a hasty eye."""

import collections
import fractions
import io
import pickle
import pickletools
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

pytest.importorskip("hypothesis")  # of the host's environment alone

from hypothesis import given, settings
from hypothesis import strategies as st

from entrypoint.run.sniff import sniff

ROOT = Path(__file__).resolve().parents[3]

RUNNING = {
    f"{name}, protocol {protocol}": pickle.dumps(value, protocol=protocol)
    for name, value in {"path": Path("x"), "fraction": fractions.Fraction(1, 2), "ordered": collections.OrderedDict(a=1), "function": print}.items()
    for protocol in range(6)
}
RUNNING["by hand: os.system"] = b"cos\nsystem\n(S'true'\ntR."
RUNNING["by hand: INST"] = b"(S'true'\nios\nsystem\n."
RUNNING["after much that is harmless"] = b"(lp0\n" + b"I1\na" * 500 + b"cos\nsystem\n(S'true'\ntRa."


@pytest.mark.parametrize("content", RUNNING.values(), ids=RUNNING)
def test_pickles(tmp_path: Path, content: bytes) -> None:
    pickletools.dis(content, out=io.StringIO())  # it is one
    (tmp_path / "vocab.txt").write_bytes(content)
    assert sniff(tmp_path / "vocab.txt") == "a pickle"


@pytest.mark.parametrize(
    "path",
    [*sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "entrypoint" / "run" / "templates").glob("*.jinja")), ROOT / "LICENSE"],
    ids=lambda path: path.name,
)
def test_texts(path: Path) -> None:
    assert sniff(path) == ""


@pytest.mark.parametrize(
    "content",
    [b"", b".", b"c", b"cos\nsystem\n", b"(lp0\n.", b"N.", b"the\ncat\nsat.", b"I1\n.", b"{{ messages }}", b"]\n}", b"\x80", b"c\n\n.", b"a b\nc d\n"],
)
def test_what_runs_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "merges.txt").write_bytes(content)
    assert sniff(tmp_path / "merges.txt") == ""


def test_archives(tmp_path: Path) -> None:
    for name, inside in (("with", "a/data.pkl"), ("without", "a.txt")):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(inside, b"x")
    assert sniff(tmp_path / "with") == "a zip archive with a pickle (data.pkl)"
    assert sniff(tmp_path / "without") == "a zip archive"
    (tmp_path / "cut").write_bytes((tmp_path / "with").read_bytes()[:30])
    assert sniff(tmp_path / "cut") == "a damaged zip archive"


@settings(max_examples=2000, deadline=None, derandomize=True)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes(content: bytes, running: bool) -> None:
    """Never a traceback; and what is put before a pickle that runs something, as far as it is opcodes, does not hide it."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.txt"
        path.write_bytes(content + b"cos\nsystem\n(S'true'\ntR." * running)
        assert isinstance(sniff(path), str)
