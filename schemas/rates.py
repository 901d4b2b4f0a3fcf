"""How fast a machine computes and moves: measured by `caisson calibrate`, or tabled for a kind of accelerator."""

from typing import Annotated, Literal

from pydantic import Field, ValidationError

from schemas.base import Record

Rate = Annotated[float, Field(gt=0, lt=1e9, allow_inf_nan=False)]
Number = Literal["bf16", "fp16", "fp32", "fp8"]


class Rates(Record):
    """Rates that a training reaches, not a vendor's peaks."""

    device: Annotated[str, Field(max_length=200)]
    """The accelerator's name, or `cpu`."""

    matmul_tflops: dict[Number, Rate]
    """Of a large matrix product, TFLOP/s, by the precision of its inputs; those that the device has."""

    memory_gib: Rate
    """That the memory where it computes reads and writes, GiB a second."""

    host_gib: Rate | None = None
    """Between the host's memory and the device's, page-locked, GiB a second; None on a CPU."""

    collective_gib: Rate | None = None
    """That an all-reduce moves per process (bus bandwidth as nccl-tests count it), GiB a second; None where there is one process."""

    launch_us: Rate
    """That one small operation takes at least, microseconds."""

    measured_at: float | None = None
    """Seconds since 1970; None: from a table."""

    image_lock: Annotated[str, Field(max_length=64)] = ""
    """Digest of the packages that measured it; empty: of no image, or from a table."""

    source: Annotated[str, Field(max_length=300)]
    """Versions that measured it, or where the table has it from."""


RATES = ".rates.json"
"""Its file in the store."""


class RatesFile(Record):
    """What `caisson calibrate` has measured of the machines that share a store: the newest by device and packages."""

    measured: tuple[Rates, ...] = ()

    def of(self, device: str) -> Rates | None:
        """The newest of a device."""
        return max((one for one in self.measured if one.device == device), key=lambda one: one.measured_at or 0.0, default=None)

    def with_(self, rates: Rates) -> "RatesFile":
        """With one more, in the place of what the same packages measured of the same device."""
        others = tuple(one for one in self.measured if (one.device, one.image_lock) != (rates.device, rates.image_lock))
        return RatesFile(measured=(*others, rates))


def read_rates(content: bytes) -> RatesFile:
    """What the file says; nothing where it was cut or changed."""
    try:
        return RatesFile.model_validate_json(content)
    except ValidationError:
        return RatesFile()
