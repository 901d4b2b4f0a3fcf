"""What this process may use of the machine: container limits, and no guesses."""

import os
import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from entrypoint import probe
from entrypoint.probe import machine


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Files of a control group in place of /sys/fs/cgroup."""
    real = Path

    def at(path: str) -> Path:
        return real(str(path).replace("/sys/fs/cgroup", str(tmp_path)))

    monkeypatch.setattr(machine, "Path", at)

    def write(**files: str) -> None:
        for name, text in files.items():
            (tmp_path / name.replace("_", ".")).write_text(text)

    return write


@pytest.mark.parametrize(
    ("said", "cores"), [("max 100000\n", 8), ("200000 100000\n", 2), ("150000 100000\n", 1), ("50000 100000\n", 1), ("9900000 100000\n", 8)]
)
def test_cores(cgroup: Callable[..., None], monkeypatch: pytest.MonkeyPatch, said: str, cores: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    cgroup(cpu_max=said)
    assert machine.usable_cores() == cores


def test_cores_without_a_control_group(cgroup: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5})
    assert machine.usable_cores() == 3


@pytest.mark.parametrize("said", ["max\n", "99999999999999999\n"])
def test_ram_without_a_limit(cgroup: Callable[..., None], said: str) -> None:
    cgroup(memory_max=said)
    assert machine.usable_ram() == psutil.virtual_memory().total


def test_ram_under_a_limit(cgroup: Callable[..., None]) -> None:
    cgroup(memory_max="1073741824\n")
    assert machine.usable_ram() == 2**30


@pytest.mark.parametrize(("said", "ram"), [("314572800\n", 314572800), ("9223372036854771712\n", psutil.virtual_memory().total)])
def test_ram_under_a_limit_of_the_older_groups(cgroup: Callable[..., None], tmp_path: Path, said: str, ram: int) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text(said)
    assert machine.usable_ram() == ram


def test_ram_without_a_control_group(cgroup: Callable[..., None]) -> None:
    assert machine.usable_ram() == psutil.virtual_memory().total


def test_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def see(**interfaces: tuple[bool, str]) -> bool:
        found = {name: SimpleNamespace(isup=up, flags=flags) for name, (up, flags) in interfaces.items()}
        monkeypatch.setattr(psutil, "net_if_stats", lambda: found)
        return machine.has_network()

    assert not see(lo=(True, "up,loopback,running"))
    assert not see(lo=(True, "up,loopback,running"), tunl0=(False, "noarp"))
    assert see(lo=(True, "up,loopback,running"), eth0=(True, "up,broadcast,running,multicast"))


def test_nearest_folder(tmp_path: Path) -> None:
    assert machine.nearest_folder(tmp_path) == tmp_path
    assert machine.nearest_folder(tmp_path / "a" / "b") == tmp_path
    assert machine.nearest_folder(Path("no/such/folder")) == Path()
    assert machine.nearest_folder(tmp_path / ("a" * 300) / "b") == tmp_path


def test_is_writable(tmp_path: Path) -> None:
    assert probe.is_writable(tmp_path / "new")
    assert not probe.is_writable(Path("/proc/1/new"))
    (tmp_path / "file").touch()
    assert not probe.is_writable(tmp_path / "file"), "a store is a folder"
    assert not probe.is_writable(tmp_path / "file" / "store")


def test_free_ram_without_a_limit(cgroup: Callable[..., None]) -> None:
    assert 0 < machine.free_ram() <= psutil.virtual_memory().total


def test_free_ram_under_a_limit(cgroup: Callable[..., None]) -> None:
    """What the page cache holds is given back when it is asked for."""
    cgroup(memory_max="209715200\n", memory_current="157286400\n", memory_stat="anon 52428800\nfile 104857600\ninactive_file 94371840\n")
    assert machine.free_ram() == 209715200 - 157286400 + 94371840
    cgroup(memory_current="209715200\n", memory_stat="inactive_file 0\n")
    assert machine.free_ram() == 0


def test_free_ram_is_never_more_than_the_limit(cgroup: Callable[..., None]) -> None:
    cgroup(memory_max="1048576\n", memory_current="0\n", memory_stat="inactive_file 99999999\n")
    assert machine.free_ram() == 1048576


@pytest.mark.parametrize("stat", ["", "nonsense", "inactive_file"])
def test_free_ram_of_a_group_that_talks_nonsense(cgroup: Callable[..., None], stat: str) -> None:
    cgroup(memory_max="2097152\n", memory_current="1048576\n", memory_stat=stat)
    assert 0 < machine.free_ram() <= 2097152


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("processor\t: 0\nmodel name\t: Intel(R) Xeon(R)   Platinum 8480C\n\nprocessor\t: 1\nmodel name\t: other\n", "Intel(R) Xeon(R) Platinum 8480C"),
        ("processor\t: 0\nmodel name\t: \nHardware\t: BCM2711\n", "BCM2711"),
        ("processor\t: 0\nCPU implementer\t: 0x41\n", None),
        ("", None),
        ("model name: \x1b[2Jevil\n", "[2Jevil"),
    ],
    ids=["x86", "ARM board", "ARM server", "empty", "escape sequence"],
)
def test_name_of_the_processor(text: str, name: str | None) -> None:
    assert machine.parse_cpu_name(text) == name


def test_this_processor_has_a_name_or_none() -> None:
    name = machine.cpu_name()
    assert name is None or (name.isprintable() and 0 < len(name) <= 200)
    if platform.machine() == "x86_64":
        assert name


def test_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.shared_memory() == shutil.disk_usage("/dev/shm").total

    def gone(path: str) -> None:
        raise FileNotFoundError(path)

    monkeypatch.setattr(shutil, "disk_usage", gone)
    assert machine.shared_memory() == 0


def test_cores_where_no_affinity_is_known(cgroup: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS."""
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 10)
    assert machine.usable_cores() == 10
