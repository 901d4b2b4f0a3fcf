"""What the container engine says, and what it says when it does not."""

from pathlib import Path

import pytest

from entrypoint import probe


def docker(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A `docker` of our own on the PATH."""
    (folder / "docker").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docker(tmp_path, monkeypatch, """case "$1" in version) echo 26.1.5;; info) echo '{"runc": {}, "nvidia": {}}';; compose) echo 2.26.1-4;; esac""")
    assert probe.engine() == probe.Engine("26.1.5", "2.26.1-4", ("nvidia", "runc"))


def test_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert probe.engine() == probe.Engine(error="no docker on the PATH")


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("echo one >&2; echo 'Cannot connect to the Docker daemon' >&2; exit 1", "Cannot connect to the Docker daemon"),
        ("exit 7", "docker ended with 7"),
        ("echo ' ' >&2; exit 7", "docker ended with 7"),
    ],
)
def test_engine_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, error: str) -> None:
    docker(tmp_path, monkeypatch, script)
    assert probe.engine() == probe.Engine(error=error)


def test_engine_that_talks_nonsense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docker(tmp_path, monkeypatch, "echo hello")
    assert probe.engine() == probe.Engine(error="docker answers in another form than is known")
