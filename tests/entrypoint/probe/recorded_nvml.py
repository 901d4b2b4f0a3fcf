"""NVML's answers as they were recorded, in place of the library: there is no GPU where tests run."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml

RECORDED = Path(__file__).parent / "recorded"


class RecordedNvml:
    """Answers of recorded/NAME.json; `broken` names functions that fail, with NVML's number for why."""

    NVMLError = pynvml.NVMLError
    NVML_CLOCK_MEM = pynvml.NVML_CLOCK_MEM
    NVML_FI_DEV_NVLINK_SPEED_MBPS_COMMON = pynvml.NVML_FI_DEV_NVLINK_SPEED_MBPS_COMMON

    def __init__(self, name: str, **broken: int) -> None:
        self.said: dict[str, Any] = json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))
        self.broken = broken

    def __getattribute__(self, name: str) -> Any:
        if name in object.__getattribute__(self, "__dict__").get("broken", {}):

            def fail(*_: object) -> None:
                raise pynvml.NVMLError(self.broken[name])

            return fail
        return object.__getattribute__(self, name)

    def nvmlSystemGetDriverVersion(self) -> str:
        return str(self.said["driver"])

    def nvmlDeviceGetCount(self) -> int:
        return len(self.said["gpus"])

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:
        if self.said["gpus"][index].get("lost"):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return dict(self.said["gpus"][index])

    def nvmlDeviceGetUUID(self, handle: dict[str, Any]) -> str:
        return str(handle["uuid"])

    def nvmlDeviceGetName(self, handle: dict[str, Any]) -> str:
        return str(handle["name"])

    def nvmlDeviceGetCudaComputeCapability(self, handle: dict[str, Any]) -> list[int]:
        return list(handle["capability"])

    def nvmlDeviceGetMemoryInfo(self, handle: dict[str, Any]) -> SimpleNamespace:
        return SimpleNamespace(**handle["memory"])

    def nvmlDeviceGetMemoryBusWidth(self, handle: dict[str, Any]) -> int:
        return int(handle["bus"])

    def nvmlDeviceGetMaxClockInfo(self, handle: dict[str, Any], clock: int) -> int:
        assert clock == pynvml.NVML_CLOCK_MEM
        return int(handle["clock"])

    def nvmlDeviceGetMaxPcieLinkGeneration(self, handle: dict[str, Any]) -> int:
        return int(handle["generation"])

    def nvmlDeviceGetCurrPcieLinkWidth(self, handle: dict[str, Any]) -> int:
        return int(handle["width"])

    def nvmlDeviceGetNvLinkState(self, handle: dict[str, Any], link: int) -> int:
        if link >= handle["links"]:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        return 1

    def nvmlDeviceGetFieldValues(self, handle: dict[str, Any], fields: list[int]) -> list[SimpleNamespace]:
        assert fields == [pynvml.NVML_FI_DEV_NVLINK_SPEED_MBPS_COMMON]
        return [SimpleNamespace(nvmlReturn=0, value=SimpleNamespace(uiVal=handle["link_mbps"]))]

    def nvmlDeviceGetMigMode(self, handle: dict[str, Any]) -> list[int]:
        if "instances" not in handle:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return [1, 1]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: dict[str, Any]) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: dict[str, Any], index: int) -> dict[str, Any]:
        found = handle["instances"][index] if index < len(handle["instances"]) else None
        if found is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return dict(found)
