"""Each finding with its fix, where it makes sense."""

import re
import socket
from pathlib import Path

import pytest

from entrypoint.doctor import Finding, examine, see
from schemas.accelerator import Accelerator, Link
from schemas.facts import Facts

GOOD = Facts(device="cpu", cpu_cores=2, ram_gib=16.0, disk_free_gib=100.0, shm_gib=2.0, program="0.1.0")
L4 = Accelerator(name="NVIDIA L4", memory_gib=22.5, compute_capability="8.9")
LINKED = L4.model_copy(update={"link": Link(kind="pcie", gib_per_second=29.3)})
MI300X = Accelerator(kind="rocm", name="AMD Instinct MI300X", memory_gib=192)
NPU = Accelerator(kind="npu", name="Ascend 910B3", memory_gib=64)
ANSWERS = """case "$1" in version) echo {version};; info) echo '{{"{runtime}": {{}}, "runc": {{}}}}';; compose) echo {compose};; esac"""


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A `docker` that answers with these versions."""
    monkeypatch.delenv("CAISSON_IMAGE", raising=False)
    monkeypatch.setenv("GATEWAY_SECRETS", str(tmp_path))
    monkeypatch.setenv("PORT", str(free_port()))
    (tmp_path / "bin").mkdir()

    def answers(version: str = "26.1.5", compose: str = "2.26.1-4", runtime: str = "nvidia") -> None:
        (tmp_path / "bin" / "docker").write_text("#!/bin/sh\n" + ANSWERS.format(version=version, compose=compose, runtime=runtime))
        (tmp_path / "bin" / "docker").chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    answers()
    return answers


def by_check(store: Path, facts: Facts = GOOD) -> dict[str, Finding]:
    found = examine(facts, store)
    assert all(f.fix for f in found if f.state != "ok"), "each finding has its fix"
    assert all(not f.fix for f in found if f.state == "ok")
    assert all(re.fullmatch(r"D[1-5]0[0-9]", f.code) for f in found)
    return {f.check: f for f in found}


def test_all_is_well_on_a_host(docker, tmp_path: Path) -> None:
    found = by_check(tmp_path)
    assert list(found) == ["engine", "compose", "GPU", "disk", "inodes", "memory", "open files", "clock", "store", "port"]
    assert {f.state for f in found.values()} == {"ok"}


@pytest.mark.parametrize(("content", "state"), [("", "fail"), ("too-short", "fail"), ("a" * 32 + " one\n" + "b" * 32 + "\n", "ok")])
def test_api_keys(docker, tmp_path: Path, content: str, state: str) -> None:
    (tmp_path / "keys").write_text(content)
    assert by_check(tmp_path)["API keys"].state == state


def test_in_a_container_no_engine_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CAISSON_IMAGE", "train")
    assert list(by_check(tmp_path)) == ["GPU", "disk", "inodes", "memory", "open files", "clock", "store", "shared memory"]


@pytest.mark.parametrize(
    ("version", "state"),
    [("26.0.0", "ok"), ("26.1.5+dfsg1", "ok"), ("27.3.1", "ok"), ("100.0", "ok"), ("25.0.6", "fail"), ("9.9.9", "fail"), ("20.10.24", "fail"), ("dev", "fail")],
)
def test_engine_version(docker, tmp_path: Path, version: str, state: str) -> None:
    docker(version=version)
    found = by_check(tmp_path)["engine"]
    assert found.state == state
    assert version in found.found
    assert state == "ok" or "26.0 needed" in found.found


@pytest.mark.parametrize(
    ("version", "state"), [("2.26.0", "ok"), ("v2.29.7", "ok"), ("2.26.1-4", "ok"), ("5.0.1", "ok"), ("2.25.9", "fail"), ("2.9.0", "fail"), ("1.29.2", "fail")]
)
def test_compose_version(docker, tmp_path: Path, version: str, state: str) -> None:
    docker(compose=version)
    assert by_check(tmp_path)["compose"].state == state


def test_no_engine(docker, tmp_path: Path) -> None:
    (tmp_path / "bin" / "docker").write_text("#!/bin/sh\necho 'Cannot connect' >&2; exit 1")
    found = by_check(tmp_path)
    assert (found["engine"].state, found["engine"].found) == ("fail", "Cannot connect")
    assert "compose" not in found


def test_a_driver_that_does_not_answer_is_one_finding_of_several(docker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CAISSON_ACCELERATOR", raising=False)
    (tmp_path / "bin" / "npu-smi").write_text("#!/bin/sh\necho dcmi module initialize failed >&2; exit 1\n")
    (tmp_path / "bin" / "npu-smi").chmod(0o755)
    facts, fault = see(tmp_path)
    found = {f.check: f for f in examine(facts, tmp_path, fault)}
    assert (found["GPU"].state, found["GPU"].found) == ("fail", "`npu-smi info` failed: dcmi module initialize failed")
    assert "CAISSON_ACCELERATOR=cpu" in found["GPU"].fix
    assert {f.state for check, f in found.items() if check in ("engine", "compose", "store")} == {"ok"}
    monkeypatch.setenv("CAISSON_ACCELERATOR", "cpu")
    assert see(tmp_path)[1] is None


def test_gpu_on_a_host_without_the_container_toolkit(docker, tmp_path: Path) -> None:
    docker(runtime="other")
    found = by_check(tmp_path, GOOD.model_copy(update={"device": "cuda", "accelerators": (L4,)}))
    assert found["container GPU"].state == "fail"
    assert found["container GPU"].found == "runtimes: other, runc"
    docker()
    assert "container GPU" not in by_check(tmp_path, GOOD.model_copy(update={"device": "cuda", "accelerators": (L4,)}))


@pytest.mark.parametrize(
    ("changes", "check", "state", "said"),
    [
        ({"device": "cuda"}, "GPU", "fail", "none seen by NVML"),
        ({"device": "cuda", "accelerators": (L4, L4)}, "GPU", "ok", "2 x NVIDIA L4, 22 GiB, compute capability 8.9"),
        ({"device": "cuda", "accelerators": (LINKED, LINKED)}, "GPU", "ok", "2 x NVIDIA L4, 22 GiB, compute capability 8.9, linked by pcie, 29 GiB/s"),
        ({"device": "rocm", "accelerators": (MI300X,)}, "GPU", "warn", "1 x AMD Instinct MI300X, 192 GiB; no image computes on AMD's ROCm"),
        ({"device": "npu", "accelerators": (NPU,), "disk_free_gib": 15.0}, "disk", "ok", "15 GiB free"),
        ({}, "GPU", "ok", "none; the CPU images are used"),
        ({"disk_free_gib": 14.9}, "disk", "warn", "14.9 GiB free, 15 GiB advised"),
        ({"disk_free_gib": 15.0}, "disk", "ok", "15 GiB free"),
        ({"device": "cuda", "accelerators": (L4,), "disk_free_gib": 59.0}, "disk", "warn", "59.0 GiB free, 60 GiB advised"),
        ({"ram_gib": 7.9}, "memory", "warn", "7.9 GiB, 8 GiB advised"),
        ({"ram_gib": 8.0}, "memory", "ok", "8.0 GiB"),
        ({"shm_gib": 0.0625}, "shared memory", "warn", "64 MiB at /dev/shm"),
        ({"shm_gib": 1.0}, "shared memory", "ok", "1.0 GiB"),
    ],
)
def test_borders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changes: dict[str, object], check: str, state: str, said: str) -> None:
    monkeypatch.setenv("CAISSON_IMAGE", "train")
    found = by_check(tmp_path, GOOD.model_copy(update=changes))[check]
    assert (found.state, found.found) == (state, said)


def test_store_that_cannot_be_written(docker) -> None:
    found = by_check(Path("/proc/1/store"))["store"]
    assert (found.state, found.found) == ("fail", "/proc/1/store is not writable")
    assert "10001" in found.fix


def test_every_code_is_listed_in_the_docs_and_means_one_check() -> None:
    root = Path(__file__).resolve().parents[3]
    used = {code for path in (root / "entrypoint" / "doctor").glob("*.py") for code in re.findall(r'"(D\d{3})"', path.read_text())}
    listed = re.findall(r"^\| (D\d{3}) \|", (root / "docs" / "doctor.md").read_text(), re.MULTILINE)
    assert sorted(used) == listed
