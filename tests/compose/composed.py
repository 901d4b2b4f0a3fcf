"""The Compose files as they are written, and as Compose itself reads them."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
ACCELERATORS = ("cpu", "cuda")


def read(path: Path) -> dict[str, Any]:
    """A Compose file with its anchors merged."""
    return dict(YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8")))


needs_compose = pytest.mark.skipif(
    not shutil.which("docker") or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode != 0, reason="no docker compose here"
)


def config(kind: str, **environment: str) -> dict[str, Any]:
    """`docker compose config` with nothing of this shell or a .env in it."""
    # An included file reads .env of its project_directory whatever --env-file says; a variable goes before it, empty or not.
    clean = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/tmp"), "ACCELERATOR": kind, "MEMORY_LIMIT": "", **environment}
    command = ["docker", "compose", "--env-file", "/dev/null", "--profile", "*", "config", "--format", "json"]
    said = subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert said.stderr == "", "a warning of Compose is a fault of the file"
    return dict(json.loads(said.stdout))
