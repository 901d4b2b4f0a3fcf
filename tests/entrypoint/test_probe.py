"""What this machine is: container limits, sources as they lie on the disk, and no guesses."""

import gc
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from entrypoint import __version__, probe
from schemas.errors import MachineError
from schemas.facts import Facts


@pytest.fixture(autouse=True)
def no_collection() -> Iterator[None]:
    """At the bottom of a nested text there is no stack left for the finalizers of what other tests have left over."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Files of a control group in place of /sys/fs/cgroup."""
    real = Path

    def at(path: str) -> Path:
        return real(str(path).replace("/sys/fs/cgroup", str(tmp_path)))

    monkeypatch.setattr(probe, "Path", at)

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
    assert probe.usable_cores() == cores


def test_cores_without_a_control_group(cgroup: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5})
    assert probe.usable_cores() == 3


@pytest.mark.parametrize("said", ["max\n", "99999999999999999\n"])
def test_ram_without_a_limit(cgroup: Callable[..., None], said: str) -> None:
    cgroup(memory_max=said)
    assert probe.usable_ram() == psutil.virtual_memory().total


def test_ram_under_a_limit(cgroup: Callable[..., None]) -> None:
    cgroup(memory_max="1073741824\n")
    assert probe.usable_ram() == 2**30


@pytest.mark.parametrize(("said", "ram"), [("314572800\n", 314572800), ("9223372036854771712\n", psutil.virtual_memory().total)])
def test_ram_under_a_limit_of_the_older_groups(cgroup: Callable[..., None], tmp_path: Path, said: str, ram: int) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text(said)
    assert probe.usable_ram() == ram


def test_ram_without_a_control_group(cgroup: Callable[..., None]) -> None:
    assert probe.usable_ram() == psutil.virtual_memory().total


def test_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def see(**interfaces: tuple[bool, str]) -> bool:
        found = {name: SimpleNamespace(isup=up, flags=flags) for name, (up, flags) in interfaces.items()}
        monkeypatch.setattr(psutil, "net_if_stats", lambda: found)
        return probe.has_network()

    assert not see(lo=(True, "up,loopback,running"))
    assert not see(lo=(True, "up,loopback,running"), tunl0=(False, "noarp"))
    assert see(lo=(True, "up,loopback,running"), eth0=(True, "up,broadcast,running,multicast"))


@pytest.mark.parametrize("said", ["cpu", "cuda"])
def test_image_says_its_device(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("CAISSON_ACCELERATOR", said)
    assert probe.image_device() == said


def test_unknown_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAISSON_ACCELERATOR", "rocm")
    with pytest.raises(MachineError) as caught:
        probe.image_device()
    assert str(caught.value) == "CAISSON_ACCELERATOR is 'rocm'\n    it must be cpu or cuda"


def test_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CAISSON_ACCELERATOR", "cpu")
    facts = probe.probe(tmp_path / "not" / "there", ("/no/such", "hf://a/b", "ms://a/b"))
    assert (facts.device, facts.accelerators, facts.program) == ("cpu", (), __version__)
    assert 1 <= facts.cpu_cores <= (os.cpu_count() or 1)
    assert 0 < facts.ram_gib <= psutil.virtual_memory().total / 2**30 + 0.01
    assert facts.disk_free_gib == pytest.approx(shutil.disk_usage(tmp_path).free / 2**30, abs=1)
    assert facts.sources == {"/no/such": probe.SourceFacts(kind="missing")}, "hubs are not looked at"
    assert Facts.model_validate_json(facts.model_dump_json()) == facts


def test_probing_writes_nothing(tmp_path: Path) -> None:
    probe.probe(tmp_path / "store", (str(tmp_path),))
    assert list(tmp_path.iterdir()) == []


def test_nearest_folder(tmp_path: Path) -> None:
    assert probe.nearest_folder(tmp_path) == tmp_path
    assert probe.nearest_folder(tmp_path / "a" / "b") == tmp_path
    assert probe.nearest_folder(Path("no/such/folder")) == Path()
    assert probe.nearest_folder(tmp_path / ("a" * 300) / "b") == tmp_path


# -- models


def test_model_with_a_link_to_nowhere(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "a.safetensors").write_bytes(bytes(10))
    (tmp_path / "b.safetensors").symlink_to(tmp_path / "gone")
    found = probe.read_model(tmp_path)
    assert found
    assert found.stored_bytes == 10


@pytest.mark.parametrize("make", [os.mkfifo, lambda p: p.symlink_to("/dev/zero"), lambda p: p.symlink_to(p), lambda p: p.mkdir()])
def test_config_that_is_no_file(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "config.json")
    assert probe.read_model(tmp_path) is None


def test_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 4}))
    (tmp_path / "a.safetensors").write_bytes(bytes(10))
    (tmp_path / "b.safetensors").write_bytes(bytes(5))
    (tmp_path / "c.bin").write_bytes(bytes(99))
    found = probe.read_model(tmp_path)
    assert found
    assert (found.config, found.stored_bytes) == ({"hidden_size": 4}, 15)


def test_model_without_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    found = probe.read_model(tmp_path)
    assert found
    assert found.stored_bytes is None


@pytest.mark.parametrize(
    "content", [None, b"", b"[]", b"{", b"\xff", b"3", b"[" * 100_000], ids=["missing", "empty", "list", "cut", "not UTF-8", "number", "deep"]
)
def test_no_model(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    assert probe.read_model(tmp_path) is None


# -- the container engine


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


def test_in_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CAISSON_IMAGE", raising=False)
    assert not probe.in_container()
    monkeypatch.setenv("CAISSON_IMAGE", "train")
    assert probe.in_container()


def test_is_writable(tmp_path: Path) -> None:
    assert probe.is_writable(tmp_path / "new")
    assert not probe.is_writable(Path("/proc/1/new"))
    (tmp_path / "file").touch()
    assert not probe.is_writable(tmp_path / "file"), "a store is a folder"
    assert not probe.is_writable(tmp_path / "file" / "store")


@pytest.mark.parametrize(
    ("wanted", "seen"),
    [
        (None, [0, 1, 2]), ("", []), ("0", [0]), ("2,0", [2, 0]), (" 1 , 2 ", [1, 2]), ("0,7,1", [0]), ("-1", []), ("NoDevFiles", []), ("1,1", [1]),
        ("GPU-b", [1]), ("GPU-c,GPU-a", [2, 0]), ("GPU-x,0", []), ("0,", [0]), ("\u0662", []),
    ],
)  # fmt: skip
def test_gpus_that_are_hidden_are_not_planned_with(wanted: str | None, seen: list[int]) -> None:
    """As CUDA reads the variable: up to the first word that names no GPU."""
    assert probe.visible(["GPU-a1", "GPU-b2", "GPU-c3"], wanted) == seen
