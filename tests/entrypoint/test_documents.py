"""What is no file, has no end, or is no text is refused at once and in words; what another program hands over is read."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from entrypoint.documents import LIMIT, read_document
from schemas.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: None, "{p} is not there\n    look elsewhere"),
        (lambda p: p.mkdir(), "{p} is a folder\n    name the spec file"),
        (os.mkfifo, "{p} is a pipe\n    name the spec file"),
        (make_socket, "{p} is a socket\n    name the spec file"),
        (lambda p: p.symlink_to("/dev/zero"), "{p} is a device\n    name the spec file"),
        (lambda p: p.symlink_to("/dev/null"), "{p} is a device\n    name the spec file"),
        (lambda p: p.symlink_to(p), "{p} is a link that leads back to itself\n    name the spec file"),
        (lambda p: p.write_bytes(b"a" * (LIMIT + 1)), "{p} has more than 1 MiB, which no spec file has\n    name the spec file"),
        (lambda p: p.write_bytes(b"spec: 1\n\xe4"), "{p} is not UTF-8: byte 8 is 0xe4\n    save the file as UTF-8"),
    ],
    ids=["missing", "folder", "FIFO", "socket", "zero", "null", "loop", "large", "latin-1"],
)
def test_refused(tmp_path: Path, make, said: str) -> None:
    path = tmp_path / "s"
    make(path)
    with pytest.raises(UsageError) as caught:
        read_document(path, "spec file", "look elsewhere")
    assert str(caught.value) == said.format(p=path)


@pytest.mark.parametrize(("name", "said"), [("a" * 300, "has too long a name"), ("file/s", "lies below a file")])
def test_impossible_name(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=said):
        read_document(tmp_path / name, "spec file", "")


def test_as_large_as_may_be(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"\xef\xbb\xbf" + b"a" * (LIMIT - 3))
    assert read_document(tmp_path / "s", "spec file", "") == "a" * (LIMIT - 3)


VALID = "spec: 1\\nname: n\\nmodel: {source: /m}\\ndata: {train: [{source: /d}]}\\nmethod: {kind: sft}\\n"
CAISSON = f"{sys.executable} -m entrypoint"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (f"{CAISSON} validate <(printf '{VALID}')", 0),
        (f"printf '{VALID}' | {CAISSON} validate /dev/stdin", 0),
        (f"{CAISSON} validate /dev/stdin < /dev/null", 2),
        (f"{CAISSON} validate /dev/stdin < /dev/zero", 2),
        (f"yes | {CAISSON} validate /dev/fd/0", 2),
        (f"{CAISSON} validate /dev/zero", 2),
        (f"{CAISSON} plan specs/demo.yaml --facts /dev/zero", 2),
    ],
)
def test_in_a_shell(command: str, code: int) -> None:
    said = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert (said.returncode, "Traceback" in said.stderr) == (code, False)
    assert (said.stdout.count(": valid"), bool(said.stderr)) == ((1, False) if code == 0 else (0, True))
