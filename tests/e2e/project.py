"""A Compose project of the tests' own, beside the user's."""

import os
import socket
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Project:
    """Runs commands in the repository with this project's name and port."""

    def __init__(self, name: str, spec: str):
        self.port = free_port()
        self.environment = {**os.environ, "PROJECT": f"caisson-{name}-{os.getpid()}", "PORT": str(self.port), "ACCELERATOR": "cpu", "SPEC": spec}

    def run(self, *argv: str, code: int | None = 0) -> str:
        """Both streams; fails the test on another exit code."""
        done = subprocess.run(argv, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)
        assert code is None or done.returncode == code, f"{argv}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def compose(self, *arguments: str, code: int | None = 0) -> str:
        """`docker compose` with these arguments."""
        return self.run("docker", "compose", *arguments, code=code)

    def stage(self, name: str, code: int | None = 0) -> str:
        """One stage alone."""
        return self.compose("run", "--rm", "--no-deps", name, code=code)

    def remove(self) -> None:
        """Containers, networks and the store."""
        self.compose("--profile", "*", "down", "--volumes", "--timeout", "10")
