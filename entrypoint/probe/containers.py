"""This project's containers, as the engine describes them."""

import json
import shutil
import subprocess
from typing import Any

from entrypoint.probe.command import ask

LINES = 400
"""Of a container's log."""

LABEL = "com.docker.compose.project"


def containers(project: str) -> list[dict[str, Any]]:
    """`docker inspect` of every container of a Compose project, also of those that have ended; empty where no engine answers."""
    if not shutil.which("docker"):
        return []
    try:
        ids = ask("docker", "ps", "--all", "--quiet", "--filter", f"label={LABEL}={project}").split()
        found = json.loads(ask("docker", "inspect", *ids)) if ids else []
    except (subprocess.SubprocessError, OSError, ValueError):
        return []
    return [one for one in found if isinstance(one, dict)]


def last_lines(container: str) -> str:
    """The end of a container's log, both streams; why not, where the engine does not give it."""
    try:
        said = subprocess.run(
            ("docker", "logs", "--tail", str(LINES), container),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=30,
        )
    except (subprocess.SubprocessError, OSError) as error:
        return f"{error}\n"
    return said.stdout
