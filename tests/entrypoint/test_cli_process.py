"""The command line as a process of its own: how it is started, and what becomes of its output."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
T4 = ROOT / "tests" / "facts" / "t4.json"


def test_as_a_module() -> None:
    said = subprocess.run([sys.executable, "-m", "entrypoint", "validate", "specs/minimal.yaml"], cwd=ROOT, capture_output=True, text=True)
    assert (said.returncode, said.stdout, said.stderr) == (0, "minimal.yaml: valid (minimal: sft, adapter auto)\n", "")


def test_pipe_that_closes_early() -> None:
    """`caisson plan ... | head -1` is no error of ours."""
    command = f"{sys.executable} -m entrypoint plan specs/demo.yaml --facts {T4} --store /no/store | head -1"
    said = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, env={**os.environ, "COLUMNS": "80"})
    assert said.stdout.startswith("port-ossley on 1 x Tesla T4")
    assert "Traceback" not in said.stderr


@pytest.mark.parametrize("arguments", ["plan specs/demo.yaml --store /no/store", "validate specs/demo.yaml", "schema", "--help", "status specs/demo.yaml"])
def test_output_onto_a_full_disk(arguments: str) -> None:
    """Also where all of it fits into a buffer, so that only the last flush fails."""
    with Path("/dev/full").open("w") as full:
        said = subprocess.run([sys.executable, "-m", "entrypoint", *arguments.split()], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    words = "caisson: standard output cannot be written: No space left on device\n    let it lead to a terminal, a reader or a disk with room\n"
    assert (said.returncode, said.stderr) == (3, words)


@pytest.mark.parametrize("show", ["", "--json", "--show engine", "--show env"])
def test_output_that_nobody_reads(show: str) -> None:
    """The shell's code for SIGPIPE, as of any command before `head`; not that of a step that failed."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "entrypoint", "plan", "specs/demo.yaml", "--facts", str(T4), "--store", "/no/store", *show.split()]
    said = subprocess.run(command, cwd=ROOT, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (said.returncode, said.stderr) == (141, "")


@pytest.mark.parametrize("arguments", [["plan", "specs/demo.yaml", "--store", b"/tmp/\xff"], ["plan", b"/tmp/\xff.yaml"]], ids=["store", "spec"])
def test_a_path_that_is_not_utf_8(arguments: list[str | bytes]) -> None:
    said = subprocess.run([sys.executable, "-m", "entrypoint", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == 2
    assert said.stderr.startswith("caisson: ") and "is not UTF-8\n    rename it, or name another" in said.stderr


def test_the_installed_command_runs_its_own_checkout(tmp_path: Path) -> None:
    """Wherever it is typed, in another checkout too; the processes that it starts as well."""
    (text,) = (line for line in (ROOT / "setup" / "venv.sh").read_text().splitlines() if line.startswith("printf "))
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    subprocess.run(["bash", "-c", text], cwd=tmp_path, check=True, env={**os.environ, "PWD": str(tmp_path)})
    other = tmp_path / "other" / "entrypoint"
    (other / "run").mkdir(parents=True)
    for path in (other / "__init__.py", other / "__main__.py", other / "run" / "__init__.py"):
        path.write_text("raise SystemExit('the wrong one')")
    said = subprocess.run(
        [tmp_path / ".venv" / "bin" / "caisson", "validate", ROOT / "specs" / "minimal.yaml"], cwd=other.parent, capture_output=True, text=True
    )
    assert "the wrong one" not in said.stderr
    said = subprocess.run(
        ["bash", "-c", f"{(tmp_path / '.venv/bin/caisson').read_text().splitlines()[1].partition('exec')[0]} env"], capture_output=True, text=True
    )
    assert "PYTHONSAFEPATH=1" in said.stdout, "inherited by the processes of the stages"


@pytest.mark.parametrize(
    ("closed", "arguments", "code"), [(">&-", "facts h100", 0), (">&- 2>&- <&-", "facts h100", 0), ("2>&-", "facts h1", 2), ("2>/dev/full", "facts h1", 2)]
)
def test_streams_that_lead_nowhere(closed: str, arguments: str, code: int) -> None:
    """As a service manager closes them: the exit code is the same."""
    said = subprocess.run(["bash", "-c", f"{sys.executable} -m entrypoint {arguments} {closed}"], cwd=ROOT, capture_output=True, text=True)
    assert (said.returncode, said.stderr, said.stdout) == (code, "", "")
