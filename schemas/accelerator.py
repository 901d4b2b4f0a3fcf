"""One accelerator, of any vendor, as its driver describes it."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Record
from schemas.errors import MachineError

Platform = Literal["cuda", "rocm", "npu", "mps"]
"""NVIDIA, AMD, Huawei Ascend, Apple."""

PLATFORMS: dict[Platform, str] = {"cuda": "NVIDIA's CUDA", "rocm": "AMD's ROCm", "npu": "Huawei's Ascend", "mps": "Apple's Metal"}
"""As people call them."""

SLOWEST = 1e-3
"""GiB a second: a megabyte, which any disk takes that a store can lie on."""

Size = Annotated[float, Field(gt=0, lt=1e9, allow_inf_nan=False)]
Speed = Annotated[float, Field(ge=SLOWEST, lt=1e6, allow_inf_nan=False)]


PCIE_GB_PER_LANE = {1: 0.25, 2: 0.5, 3: 0.985, 4: 1.969, 5: 3.938, 6: 7.563}
"""GB a second one way, by generation: PCI-SIG's transfer rates less the encoding."""


def printable(value: str) -> str:
    """The text; an error where it holds what is none."""
    if not value.isprintable():
        raise PydanticCustomError("printable", "holds characters that cannot be printed and would reach the terminal as commands")
    return value


Words = Annotated[str, AfterValidator(printable)]


class Link(Record):
    """How an accelerator reaches its neighbours."""

    kind: Literal["nvlink", "pcie", "xgmi", "hccs", "none"]
    """none: it is alone."""

    gib_per_second: Speed | None = None
    """That it can send at once over all its links, GiB a second one way, as the links promise; None: not known."""


class Accelerator(Record):
    """One accelerator. None: not known."""

    kind: Platform = "cuda"

    name: Annotated[Words, Field(max_length=200)]
    """As the driver reports it."""

    memory_gib: Size
    """All of its memory, GiB; of Apple's the machine's, which it shares."""

    memory_free_gib: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Of it free when it was looked at, GiB."""

    compute_capability: Annotated[str, Field(pattern=r"^[0-9]{1,2}\.[0-9]$")] | None = None
    """NVIDIA's, such as 9.0; the others have none."""

    bf16: bool | None = None
    """Whether it has bf16 matrix units, where that is said; else its compute capability decides."""

    fp8: bool | None = None
    """The same of fp8."""

    memory_gib_per_second: Speed | None = None
    """That its memory promises, GiB a second."""

    host_gib_per_second: Speed | None = None
    """That its slot promises to the host's memory, GiB a second one way."""

    link: Link | None = None

    driver: Annotated[Words, Field(max_length=100)] | None = None
    """Version of its driver."""

    @model_validator(mode="after")
    def _complete(self) -> "Accelerator":
        if self.kind == "cuda" and self.compute_capability is None:
            raise PydanticCustomError("capability", "compute_capability is missing: kind cuda has one, such as 9.0")
        if self.kind != "cuda" and self.compute_capability is not None:
            raise PydanticCustomError("capability", "compute_capability is NVIDIA's: only kind cuda has one")
        if self.memory_free_gib is not None and self.memory_free_gib > self.memory_gib:
            raise PydanticCustomError("free", "memory_free_gib is more than memory_gib")
        return self

    @property
    def has_bf16(self) -> bool:
        """bf16 matrix units came with compute capability 8.0 (CUDA C++ programming guide, arithmetic instructions)."""
        return self.bf16 if self.bf16 is not None else self.generation >= (8, 0)

    @property
    def has_fp8(self) -> bool:
        """fp8 matrix units came with compute capability 8.9 (the same guide)."""
        return self.fp8 if self.fp8 is not None else self.generation >= (8, 9)

    @property
    def generation(self) -> tuple[int, int]:
        """The compute capability as numbers; (0, 0) where there is none."""
        major, _, minor = (self.compute_capability or "0.0").partition(".")
        return int(major), int(minor)


def accelerator_of(who: str, place: int, **said: Any) -> Accelerator:
    """What a driver says of the accelerator at a place. Raises MachineError where that cannot be."""
    try:
        return Accelerator.model_validate(said)
    except ValidationError as error:
        wrong = "; ".join(": ".join(filter(None, (".".join(map(str, detail["loc"])), detail["msg"]))) for detail in error.errors())
        raise MachineError(
            f"{who} says of accelerator {place} what cannot be: {wrong}",
            "CAISSON_ACCELERATOR=cpu plans without it, --facts FILE for a machine as a file describes it",
        ) from None


def pcie_gib(generation: int, lanes: int) -> float | None:
    """GiB a second one way of a PCIe slot; None for a generation that is not known, or for no number of lanes."""
    lane = PCIE_GB_PER_LANE.get(generation)
    return lane * lanes * 1e9 / 2**30 if lane and 1 <= lanes <= 32 else None
