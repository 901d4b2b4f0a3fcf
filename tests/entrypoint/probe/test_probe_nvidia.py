"""What is made of NVML's answers, also of strange ones; recorded/README.md says where they are from."""

import pynvml
import pytest
from recorded_nvml import RecordedNvml

from entrypoint.plan.accelerators import find_kind
from entrypoint.probe import nvidia
from schemas.accelerator import Link
from schemas.errors import MachineError


@pytest.fixture(autouse=True)
def nothing_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_eight_with_nvlink() -> None:
    found = nvidia.read(RecordedNvml("nvml-h100-x8"))
    assert len(found) == 8 and len(set(found)) == 1
    one = found[0]
    assert (one.kind, one.name, one.compute_capability, one.driver) == ("cuda", "NVIDIA H100 80GB HBM3", "9.0", "550.54.15")
    assert (one.memory_gib, one.memory_free_gib) == (79.65, 79.14)
    assert (one.has_bf16, one.has_fp8) == (True, True)
    assert one.memory_gib_per_second == pytest.approx(3352.3e9 / 2**30, abs=0.1)
    assert one.host_gib_per_second == 58.7
    assert one.link == Link(kind="nvlink", gib_per_second=round(18 * 26562e6 / 2**30, 1))


@pytest.mark.parametrize("name", ["nvml-h100-x8", "nvml-t4", "nvml-rtx-4090-x2"])
def test_what_the_driver_says_and_the_table_agree(name: str) -> None:
    """Memory and its speed, from two sources: a recording and data sheets."""
    one = nvidia.read(RecordedNvml(name))[0]
    kind = find_kind(one.name)
    assert kind and kind.memory_gib and one.memory_gib_per_second
    assert one.memory_gib_per_second == pytest.approx(kind.memory_gib_per_second, rel=0.02)
    assert one.memory_gib == pytest.approx(kind.memory_gib, rel=0.03)


def test_one_alone_has_no_link() -> None:
    (one,) = nvidia.read(RecordedNvml("nvml-t4"))
    assert one.link == Link(kind="none")
    assert (one.has_bf16, one.has_fp8, one.host_gib_per_second) == (False, False, 14.7)


def test_neighbours_over_the_slot() -> None:
    """Two cards in slots of eight lanes each."""
    first, _ = nvidia.read(RecordedNvml("nvml-rtx-4090-x2"))
    assert first.link == Link(kind="pcie", gib_per_second=14.7)


def test_instances_of_a_card_that_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = nvidia.read(RecordedNvml("nvml-a100-cut"))
    assert (first.name, first.memory_gib, first.compute_capability) == ("NVIDIA A100-SXM4-80GB MIG 3g.40gb", 39.25, "8.0")
    assert second.memory_gib == 9.5
    assert first.memory_gib_per_second is None, "the whole card's would be too much"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-2222")
    (only,) = nvidia.read(RecordedNvml("nvml-a100-cut"))
    assert only == second.model_copy(update={"link": Link(kind="none")})


def test_hidden_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    (one,) = nvidia.read(RecordedNvml("nvml-h100-x8"))
    assert one.link == Link(kind="none"), "a neighbour that is hidden is none"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert nvidia.read(RecordedNvml("nvml-h100-x8")) == ()


OPTIONAL = {
    "nvmlSystemGetDriverVersion": {"driver"},
    "nvmlDeviceGetMemoryBusWidth": {"memory_gib_per_second"},
    "nvmlDeviceGetMaxClockInfo": {"memory_gib_per_second"},
    "nvmlDeviceGetMaxPcieLinkGeneration": {"host_gib_per_second"},
    "nvmlDeviceGetCurrPcieLinkWidth": {"host_gib_per_second"},
}


@pytest.mark.parametrize("function", OPTIONAL)
def test_what_an_old_driver_does_not_know_is_not_known(function: str) -> None:
    whole = nvidia.read(RecordedNvml("nvml-h100-x8"))[0]
    one = nvidia.read(RecordedNvml("nvml-h100-x8", **{function: pynvml.NVML_ERROR_NOT_SUPPORTED}))[0]
    assert {key for key, value in one if value != getattr(whole, key)} == OPTIONAL[function]
    assert all(getattr(one, key) is None for key in OPTIONAL[function])


def test_speed_of_links_that_is_not_said() -> None:
    one = nvidia.read(RecordedNvml("nvml-h100-x8", nvmlDeviceGetFieldValues=pynvml.NVML_ERROR_NOT_SUPPORTED))[0]
    assert one.link == Link(kind="nvlink")


@pytest.mark.parametrize("function", ["nvmlDeviceGetMemoryInfo", "nvmlDeviceGetName", "nvmlDeviceGetCudaComputeCapability"])
def test_what_has_to_be_known(function: str) -> None:
    with pytest.raises(MachineError, match="NVIDIA GPU 0 does not answer: Unknown Error") as caught:
        nvidia.read(RecordedNvml("nvml-h100-x8", **{function: pynvml.NVML_ERROR_UNKNOWN}))
    assert "CAISSON_ACCELERATOR=cpu" in str(caught.value)


def test_a_lost_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = RecordedNvml("nvml-h100-x8")
    nvml.said["gpus"][2]["lost"] = True
    with pytest.raises(MachineError) as caught:
        nvidia.read(nvml)
    assert str(caught.value).startswith("NVIDIA GPU 2 does not answer\n    see what `nvidia-smi` says, and hide it with CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,3")
    assert len(nvidia.read(nvml)) == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"memory": {"total": 0, "free": 0}}, "memory_gib: Input should be greater than 0"),
        ({"memory": {"total": 10**10, "free": 2 * 10**10}}, "memory_free_gib is more than memory_gib"),
        ({"capability": [1000, 7]}, "compute_capability: String should match pattern"),
    ],
    ids=["no memory", "more free than there is", "capability"],
)
def test_what_cannot_be(change: dict, said: str) -> None:
    nvml = RecordedNvml("nvml-t4")
    nvml.said["gpus"][0] |= change
    with pytest.raises(MachineError) as caught:
        nvidia.read(nvml)
    assert f"NVIDIA's driver says of accelerator 0 what cannot be: {said}" in str(caught.value)


def test_a_name_with_commands_for_the_terminal() -> None:
    nvml = RecordedNvml("nvml-t4")
    nvml.said["gpus"][0]["name"] = "Tesla\x1b[2J T4" + "x" * 500
    (one,) = nvidia.read(nvml)
    assert one.name.startswith("Tesla[2J T4") and len(one.name) == 200


@pytest.mark.parametrize(
    ("error", "absent"), [("LIBRARY_NOT_FOUND", True), ("DRIVER_NOT_LOADED", True), ("LIB_RM_VERSION_MISMATCH", False), ("UNKNOWN", False)]
)
def test_a_driver_that_does_not_start(monkeypatch: pytest.MonkeyPatch, error: str, absent: bool) -> None:
    def fail() -> None:
        raise pynvml.NVMLError(getattr(pynvml, f"NVML_ERROR_{error}"))

    monkeypatch.setattr(pynvml, "nvmlInit", fail)
    if absent:
        assert nvidia.accelerators() == ()
        return
    with pytest.raises(MachineError, match="NVIDIA's driver does not start: "):
        nvidia.accelerators()


def test_a_list_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: ended.append(True))
    with pytest.raises(MachineError, match="NVIDIA's driver does not answer: "):  # the library of this machine, which was not started
        nvidia.accelerators()
    assert ended == [True]
