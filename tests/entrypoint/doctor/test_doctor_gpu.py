"""Drivers and kernels: what the wheels of the CUDA images can and cannot run on."""

import pytest

from entrypoint.doctor.gpu import gpu_findings
from schemas.accelerator import Accelerator
from schemas.facts import Facts

GOOD = Facts(device="cuda", cpu_cores=2, ram_gib=16.0, disk_free_gib=100.0, shm_gib=2.0, program="0.1.0")


def findings(**card: object):
    one = Accelerator(**{"name": "Tesla T4", "memory_gib": 14.6, "compute_capability": "7.5", **card})  # type: ignore[arg-type]
    return {f.check: f for f in gpu_findings(GOOD.model_copy(update={"accelerators": (one,)}), None)}


@pytest.mark.parametrize(
    ("capability", "state"), [("7.5", "ok"), ("8.0", "ok"), ("9.0", "ok"), ("10.0", "ok"), ("12.0", "ok"), ("7.0", "fail"), ("6.1", "fail")]
)
def test_kernels(capability: str, state: str) -> None:
    found = findings(compute_capability=capability, name="Tesla V100" if state == "fail" else "Tesla T4")["kernels"]
    assert found.state == state
    if state == "fail":
        assert f"Tesla V100 has compute capability {capability}" in found.found


@pytest.mark.parametrize(("driver", "state"), [("580.65.06", "ok"), ("590.10", "ok"), ("575.57.08", "fail"), ("535.183.01", "fail"), ("unreadable", "fail")])
def test_driver(driver: str, state: str) -> None:
    assert findings(driver=driver)["driver"].state == state


def test_a_driver_that_is_not_known_is_not_judged() -> None:
    assert "driver" not in findings()


def test_the_images_bring_the_cuda_that_is_judged_by() -> None:
    """A lock with another CUDA needs other numbers here."""
    from pathlib import Path

    from entrypoint.doctor.gpu import CUDA

    lock = (Path(__file__).resolve().parents[3] / "images" / "torch" / "requirements.cuda.txt").read_text()
    assert f"cuda-toolkit=={CUDA}." in lock
