"""NVIDIA GPUs, as NVML lists them."""

from dataclasses import dataclass
from typing import Any

from entrypoint.probe.command import fix_driver, printable
from entrypoint.probe.environment import seen
from entrypoint.probe.speeds import gib, slot_speed, speed
from schemas.accelerator import Accelerator, Link, accelerator_of
from schemas.errors import MachineError

MAX_LINKS = 36
"""NVML_NVLINK_MAX_LINKS."""


def accelerators() -> tuple[Accelerator, ...]:
    """As far as CUDA_VISIBLE_DEVICES lets this process see them; empty without a driver. Raises MachineError where the driver does not answer as it should."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        if error.value in (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED):
            return ()
        raise MachineError(f"NVIDIA's driver does not start: {error}", fix_driver("nvidia-smi")) from None
    try:
        return read(pynvml)
    except (pynvml.NVMLError, UnicodeDecodeError) as error:
        raise MachineError(f"NVIDIA's driver does not answer: {error}", fix_driver("nvidia-smi")) from None
    finally:
        pynvml.nvmlShutdown()


@dataclass(frozen=True)
class Device:
    """A GPU, or an instance of one that is cut into several."""

    index: int
    """The card's."""

    uuid: str = ""
    card: Any = None
    handle: Any = None
    """The card's own, or the instance's; None where it does not answer."""


def read(nvml: Any) -> tuple[Accelerator, ...]:
    """What an NVML that was started lists. Raises MachineError, or NVML's own error where the whole list fails."""
    devices = [device for index in range(nvml.nvmlDeviceGetCount()) for device in _devices(nvml, index)]
    chosen = [devices[place] for place in seen("cuda", [device.uuid for device in devices])]
    driver = _optional(nvml, nvml.nvmlSystemGetDriverVersion)
    return tuple(_describe(nvml, device, len(chosen), driver) for device in chosen)


def _devices(nvml: Any, index: int) -> list[Device]:
    try:
        card = nvml.nvmlDeviceGetHandleByIndex(index)
        if (_optional(nvml, nvml.nvmlDeviceGetMigMode, card) or [0])[0]:
            slices = (_optional(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, card, at) for at in range(nvml.nvmlDeviceGetMaxMigDeviceCount(card)))
            return [Device(index, str(nvml.nvmlDeviceGetUUID(one)), card, one) for one in slices if one is not None]
        return [Device(index, str(nvml.nvmlDeviceGetUUID(card)), card, card)]
    except (nvml.NVMLError, UnicodeDecodeError):
        return [Device(index)]


def _describe(nvml: Any, device: Device, together: int, driver: str | None) -> Accelerator:
    """One among so many that this process sees."""
    if device.handle is None:
        fix = "see what `nvidia-smi` says, and hide it with CUDA_VISIBLE_DEVICES until it is mended"
        raise MachineError(f"NVIDIA GPU {device.index} does not answer", fix)
    card = device.card
    try:
        major, minor = nvml.nvmlDeviceGetCudaComputeCapability(card)
        memory = nvml.nvmlDeviceGetMemoryInfo(device.handle)
        name = printable(str(nvml.nvmlDeviceGetName(device.handle)), 200)
    except (nvml.NVMLError, UnicodeDecodeError) as error:
        raise MachineError(f"NVIDIA GPU {device.index} does not answer: {error}", fix_driver("nvidia-smi")) from None
    width, clock = _optional(nvml, nvml.nvmlDeviceGetMemoryBusWidth, card), _optional(nvml, nvml.nvmlDeviceGetMaxClockInfo, card, nvml.NVML_CLOCK_MEM)
    host = slot_speed(_optional(nvml, nvml.nvmlDeviceGetMaxPcieLinkGeneration, card), _optional(nvml, nvml.nvmlDeviceGetCurrPcieLinkWidth, card))
    return accelerator_of(
        "NVIDIA's driver",
        device.index,
        name=name,
        memory_gib=gib(memory.total),
        memory_free_gib=gib(memory.free),
        compute_capability=f"{major}.{minor}",
        # Both edges of the clock: MHz x 2 x bits / 8. An instance has a part of it that NVML does not say.
        memory_gib_per_second=speed(clock * 2e6 * width / 8) if width and clock and device.handle is card else None,
        host_gib_per_second=host,
        link=_link(nvml, card, together, host),
        driver=printable(driver, 100) if driver else None,
    )


def _link(nvml: Any, handle: Any, together: int, host: float | None) -> Link:
    if together < 2:
        return Link(kind="none")
    active = [at for at in range(MAX_LINKS) if _optional(nvml, nvml.nvmlDeviceGetNvLinkState, handle, at)]
    if not active:
        return Link(kind="pcie", gib_per_second=host)
    fields = _optional(nvml, nvml.nvmlDeviceGetFieldValues, handle, [nvml.NVML_FI_DEV_NVLINK_SPEED_MBPS_COMMON])
    megabytes = fields[0].value.uiVal if fields and fields[0].nvmlReturn == 0 else 0
    return Link(kind="nvlink", gib_per_second=speed(len(active) * megabytes * 1e6))


def _optional(nvml: Any, call: Any, *arguments: Any) -> Any:
    """What is answered; None by a driver or a card that does not know."""
    try:
        return call(*arguments)
    except (nvml.NVMLError, UnicodeDecodeError):
        return None
