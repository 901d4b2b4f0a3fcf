"""What is made of macOS's description of its accelerator; recorded/README.md says where it is from."""

import sys
from pathlib import Path

import pytest

from entrypoint.probe import apple
from schemas.accelerator import Link
from schemas.errors import MachineError

RECORDED = Path(__file__).parent / "recorded"


def macos(folder: Path, monkeypatch: pytest.MonkeyPatch, displays: str, memory: str = "68719476736") -> None:
    """macOS's programs, in place of what is missing here."""
    for name, script in (("system_profiler", f"cat {displays}"), ("sysctl", f"echo {memory}"), ("sw_vers", "echo 14.5")):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(sys, "platform", "darwin")


def test_apples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    macos(tmp_path, monkeypatch, f"{RECORDED}/system-profiler-m1-max.json")
    (one,) = apple.accelerators()
    assert (one.kind, one.name, one.memory_gib, one.driver, one.link) == ("mps", "Apple M1 Max", 64.0, "macOS 14.5", Link(kind="none"))
    assert (one.bf16, one.has_bf16) == (None, False)


def test_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    macos(tmp_path, monkeypatch, f"{RECORDED}/system-profiler-intel.json")
    assert apple.accelerators() == ()


def test_elsewhere() -> None:
    assert sys.platform != "darwin"
    assert apple.accelerators() == ()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"SPDisplaysDataType": 3}', '{"SPDisplaysDataType": [3]}', "[" * 100_000])
def test_strange_answers_are_said_in_words(text: str) -> None:
    with pytest.raises(MachineError, match="answers in another form than is known"):
        apple.parse_displays(text)


@pytest.mark.parametrize("memory", ["", "much", "-1", "0"])
def test_memory_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: str) -> None:
    macos(tmp_path, monkeypatch, f"{RECORDED}/system-profiler-m1-max.json", memory)
    with pytest.raises(MachineError, match="macOS says of accelerator 0 what cannot be: memory_gib"):
        apple.accelerators()
