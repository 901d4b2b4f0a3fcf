"""What the kernel counts of processes that it ended for memory, and what is said of one that was ended by SIGKILL."""

import subprocess
import sys
from pathlib import Path

import pytest

from entrypoint.run import memory_kills as counted
from entrypoint.run.memory_kills import ended_by_memory, memory_kills

EVENTS = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n"


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """memory.events of this process's group."""
    (tmp_path / "of" / "ours").mkdir(parents=True)
    (tmp_path / "cgroup").write_text("12:cpuset:/else\n0::/of/ours\n")
    monkeypatch.setattr(counted, "CGROUPS", tmp_path)
    monkeypatch.setattr(counted, "OWN", tmp_path / "cgroup")
    path = tmp_path / "of" / "ours" / "memory.events"
    path.write_text(EVENTS)
    return path


def test_counted(group: Path) -> None:
    assert memory_kills() == 2


@pytest.mark.parametrize("inside", ["memory/docker/abc", "memory"], ids=["of a host", "of a container"])
def test_counted_by_the_older_groups(group: Path, tmp_path: Path, inside: str) -> None:
    """As Docker has them where the kernel was started with cgroup v1: the group's name is the host's in both."""
    group.unlink()
    (tmp_path / "cgroup").write_text("9:name=systemd:/docker/abc\n4:memory:/docker/abc\n0::/docker/abc\n")
    (tmp_path / inside).mkdir(parents=True)
    (tmp_path / inside / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n")
    assert memory_kills() == 7


@pytest.mark.parametrize("content", [None, "", "nonsense", "oom_kill x"])
def test_a_kernel_that_does_not_count(group: Path, content: str | None) -> None:
    group.unlink()
    if content is not None:
        group.write_text(content)
    assert memory_kills() == 0


def test_sure(group: Path) -> None:
    error = ended_by_memory("train: lora on cpu", 1)
    assert (error.exit_code, error.what) == (3, "train: lora on cpu was ended by the kernel: the memory ran out")
    assert "more memory" in str(error.fix)


def test_likely(group: Path) -> None:
    """Somebody else may have ended it."""
    error = ended_by_memory("train: lora on cpu", 2)
    assert (error.exit_code, error.what) == (1, "train: lora on cpu was ended by SIGKILL, as the kernel does where memory runs out")
    assert str(error.fix).startswith("if nobody else has ended it, give the container")


def test_this_machine_can_be_asked() -> None:
    said = subprocess.run(
        [sys.executable, "-c", "from entrypoint.run.memory_kills import memory_kills; print(memory_kills())"],
        capture_output=True, text=True, check=True, cwd=Path(__file__).resolve().parents[3],
    )  # fmt: skip
    assert int(said.stdout) >= 0
