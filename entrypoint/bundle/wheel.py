"""The program's own wheel, byte for byte the same from the same sources."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from schemas.errors import MachineError

SOURCES = ("entrypoint", "schemas", "pyproject.toml", "LICENSE")
EPOCH = "315532800"
"""1980-01-01, the first second that a zip archive can name: every file in a wheel has this time (reproducible-builds.org, SOURCE_DATE_EPOCH)."""


def build_wheel(root: Path, folder: Path) -> Path:
    """Build the wheel of the checkout `root` into `folder`, which is emptied first. Raises MachineError where setuptools is absent or fails."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as name:  # setuptools writes beside what it reads, and modes of files go into the archive
        copy = Path(name)
        for source in SOURCES:
            for path in sorted([root / source] if (root / source).is_file() else (root / source).rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    to = copy / path.relative_to(root)
                    to.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, to)
                    to.chmod(0o644)
        code = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
        argv = [sys.executable, "-I", "-c", code, str(folder.resolve())]
        done = subprocess.run(argv, cwd=copy, env={"SOURCE_DATE_EPOCH": EPOCH}, umask=0o022, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise MachineError(f"the program's wheel cannot be built: {said}", "start caisson from the environment that `make venv` makes")
    return next(folder.glob("*.whl"))
