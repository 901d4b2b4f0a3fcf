"""How fast a machine computes and moves: measured by `caisson calibrate`, or tabled for a kind of accelerator."""

from typing import Annotated, Literal

from pydantic import Field

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

    source: Annotated[str, Field(max_length=300)]
    """Versions that measured it, or where the table has it from."""
