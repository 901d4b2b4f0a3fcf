"""The injector: which calls it sees, and that a fault does what it says, to the process and to the disk."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from injector import KILLED, Injector

pytestmark = [pytest.mark.image, pytest.mark.faults]  # needs no image of a stage, but the base to compile in
ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import os, subprocess, sys, threading
os.mkdir("scope/kept")
for name in ("a", "b"):
    with open(f"scope/{name}", "w") as stream:
        stream.write("0123456789")
        stream.flush()
        os.fsync(stream.fileno())
os.replace("scope/a", "scope/kept/a")
subprocess.run([sys.executable, "-c", "open('scope/child', 'w').write('abc')"])
thread = threading.Thread(target=lambda: os.unlink("scope/b"))
thread.start()
thread.join()
fd = os.open("scope/sum", os.O_RDWR | os.O_CREAT)
os.truncate(fd, 4)
os.writev(fd, [b"12345678", b"9"])
open("outside", "w").write("x")
"""


@pytest.fixture(scope="module")
def program():
    subprocess.run(["bash", str(ROOT / "bench/faults/build.sh")], check=True)
    return ROOT / "build/faults/inject"


@pytest.fixture
def injector(program, tmp_path):
    (tmp_path / "scope").mkdir()
    return Injector(tmp_path / "injector", program)


def run(injector, folder, code=PROGRAM):
    return subprocess.run(injector.before([sys.executable, "-c", code]), cwd=folder, capture_output=True, text=True, timeout=60)


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_every_call_is_counted_over_processes_and_threads(injector, tmp_path):
    injector.arm(str(tmp_path / "scope"))
    assert run(injector, tmp_path).returncode == 0
    seen = [(c.kind, c.k, c.bytes, Path(c.path).name) for c in injector.calls()]
    assert seen == [
        ("mkdir", 1, 0, "kept"),
        ("open", 1, 0, "a"), ("write", 1, 10, "a"), ("fsync", 1, 0, "a"),
        ("open", 2, 0, "b"), ("write", 2, 10, "b"), ("fsync", 2, 0, "b"),
        ("rename", 1, 0, "a"),
        ("open", 3, 0, "child"), ("write", 3, 3, "child"),
        ("unlink", 1, 0, "b"),
        ("open", 4, 0, "sum"), ("truncate", 1, 4, "sum"), ("write", 4, 9, "sum"),
    ]  # fmt: skip
    assert not any(c.fault for c in injector.calls())


def test_the_exit_code_is_the_commands(injector, tmp_path):
    injector.disarm()
    assert run(injector, tmp_path, "raise SystemExit(75)").returncode == 75
    assert run(injector, tmp_path, "import os; os.kill(os.getpid(), 9)").returncode == KILLED


ERRORS = [("write", 2, errno.EIO), ("fsync", 1, errno.EIO), ("rename", 1, errno.EIO), ("mkdir", 1, errno.ENOSPC), ("truncate", 1, errno.ENOSPC)]


@pytest.mark.parametrize(("kind", "at", "error"), ERRORS)
def test_an_error_reaches_the_program(injector, tmp_path, kind, at, error):
    injector.arm(str(tmp_path / "scope"), kind=kind, at=at, action="fail", error=error)
    ended = run(injector, tmp_path)
    assert ended.returncode == 1 and f"[Errno {error}]" in ended.stderr
    assert [(c.kind, c.k) for c in injector.calls() if c.fault] == [(kind, at)]


def test_half_a_write_then_nothing_runs_any_more(injector, tmp_path):
    injector.arm(str(tmp_path / "scope"), kind="write", at=2, action="half")
    assert run(injector, tmp_path).returncode == KILLED
    assert files(tmp_path / "scope") == {"a": "0123456789", "b": "01234"}


def test_half_of_a_write_in_parts_is_half_of_its_first(injector, tmp_path):
    injector.arm(str(tmp_path / "scope"), kind="write", at=4, action="half")
    assert run(injector, tmp_path).returncode == KILLED
    assert files(tmp_path / "scope")["sum"] == "1234"
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize(("action", "there"), [("before", "a"), ("after", "kept/a")])
def test_killed_around_a_rename(injector, tmp_path, action, there):
    injector.arm(str(tmp_path / "scope"), kind="rename", at=1, action=action)
    assert run(injector, tmp_path).returncode == KILLED
    assert files(tmp_path / "scope") == {there: "0123456789", "b": "0123456789"}


def test_a_child_takes_everything_with_it(injector, tmp_path):
    injector.arm(str(tmp_path / "scope"), kind="write", at=3, action="before")
    assert run(injector, tmp_path).returncode == KILLED
    assert files(tmp_path / "scope") == {"kept/a": "0123456789", "b": "0123456789", "child": ""}


def test_a_full_disk_stays_full_also_outside_the_scope(injector, tmp_path):
    code = PROGRAM.replace("import os,", "import os, contextlib,").replace('    with open(f"scope', '    with contextlib.suppress(OSError), open(f"scope')
    injector.arm(str(tmp_path / "scope"), kind="write", at=2, action="fail", error=errno.ENOSPC, disk=str(tmp_path))
    ended = run(injector, tmp_path, code)
    assert ended.returncode == 1 and "[Errno 28]" in ended.stderr
    assert files(tmp_path / "scope") == {"kept/a": "0123456789", "child": "", "sum": ""}
    assert not (tmp_path / "outside").exists()


CUT = """
import os
os.mkdir("scope/new-9")
for name, flushed in (("flushed", True), ("lost", False)):
    with open(f"scope/new-9/{name}", "w") as stream:
        stream.write("0123456789")
        stream.flush()
        if flushed:
            os.fsync(stream.fileno())
with open("scope/older", "w") as stream:
    stream.write("older")
os.rename("scope/new-9", "scope/step-9")
if FLUSH:
    os.fsync(os.open("scope", os.O_RDONLY))
os.mkdir("scope/end")
"""


@pytest.mark.parametrize(("flush", "folder"), [(False, "new-9"), (True, "step-9")])
def test_a_power_cut_takes_what_was_not_flushed(injector, tmp_path, flush, folder):
    injector.arm(str(tmp_path / "scope"), kind="mkdir", at=2, action="before", lost="-9")
    assert run(injector, tmp_path, CUT.replace("FLUSH", str(flush))).returncode == KILLED
    assert files(tmp_path / "scope") == {f"{folder}/flushed": "0123456789", f"{folder}/lost": "", "older": "older"}


def test_a_power_cut_brings_back_what_a_rename_replaced(injector, tmp_path):
    code = "import os\nfor text in 'old', 'new':\n f = open('scope/draft', 'w'); f.write(text); f.flush(); os.fsync(f.fileno()); os.replace('scope/draft', 'scope/final')"
    (tmp_path / "scope/final").write_text("first")
    injector.arm(str(tmp_path / "scope"), kind="rename", at=2, action="after", lost="*")
    assert run(injector, tmp_path, code).returncode == KILLED
    assert files(tmp_path / "scope")["final"] in ("first", "old")
