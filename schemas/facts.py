"""What a machine is, as recorded; entrypoint.probe is the only module that looks."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from schemas.accelerator import SLOWEST as SLOWEST
from schemas.accelerator import Accelerator as Accelerator
from schemas.accelerator import Link as Link
from schemas.accelerator import Size, Speed, Words
from schemas.base import Record
from schemas.code import CodeFacts
from schemas.rates import Rates

<<<<<<< HEAD
Platform = Literal["cuda", "rocm", "npu", "mps"]
"""NVIDIA, AMD, Huawei Ascend, Apple."""

Device = Literal["cpu", "cuda", "rocm", "npu", "mps"]

IMAGES = ("cpu", "cuda")
"""What there are images for. The other devices can be described, and a plan for one says that nothing computes there."""

MOST = 1024
"""Accelerators of one machine."""
=======
Device = Literal["cpu", "cuda", "rocm", "npu", "mps"]
>>>>>>> facts

IMAGES = ("cpu", "cuda")
"""What there are images for. The other devices can be described, and a plan for one says that nothing computes there."""

MOST = 1024
"""Accelerators of one machine."""

Count = Annotated[int, Field(ge=0)]
<<<<<<< HEAD
Speed = Annotated[float, Field(ge=SLOWEST, lt=1e6, allow_inf_nan=False)]


def _printable(value: str) -> str:
    if not value.isprintable():
        raise PydanticCustomError("printable", "holds characters that cannot be printed and would reach the terminal as commands")
    return value


class Link(Record):
    """How an accelerator reaches its neighbours."""

    kind: Literal["nvlink", "pcie", "xgmi", "hccs", "none"]
    """none: it is alone."""

    gib_per_second: Speed | None = None
    """That it can send at once over all its links, GiB a second one way, as the links promise; None: not known."""


class Accelerator(Record):
    """One accelerator. None: not known."""

    kind: Platform = "cuda"

    name: Annotated[str, Field(max_length=200), AfterValidator(_printable)]
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

    link: Link | None = None

    driver: Annotated[str, Field(max_length=100), AfterValidator(_printable)] | None = None
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
=======
>>>>>>> facts


class ModelFacts(Record):
    """What the config of a model says; enough to count its weights and activations."""

    config: dict[str, Any]
    """config.json as it stands."""

    stored_bytes: Count | None = None
    """Bytes of its weight files, where they are at hand."""


class AdapterFacts(Record):
    """What an adapter says of itself."""

    config: dict[str, Any]
    """adapter_config.json as it stands."""

    folder: str
    """Absolute."""

    base: str = ""
    """Content digest of the model that it was trained on, where this store knows it."""


class SourceFacts(Record):
    """A local source as it lies on the disk."""

    kind: Literal["file", "folder", "missing", "unreadable"]
    files: tuple[tuple[str, Count, int], ...] = ()
    """Path inside the source, bytes, time of last change in nanoseconds; sorted."""

    fault: str = ""
    """Why it is unreadable."""


class DiskSpeed(Record):
    """What a store remembers of its disk."""

    gib_per_second: Speed
    measured_at: float
    """Seconds since 1970."""


def read_disk_speed(content: bytes) -> DiskSpeed | None:
    """What the file says; None where it was cut or changed."""
    try:
        return DiskSpeed.model_validate_json(content)
    except ValidationError:
        return None


DISK_SPEED = ".disk-speed.json"
"""Its file in the store."""


class Facts(Record):
    """This machine, the image's kind, and the local sources of one spec."""

    device: Device
    """What this image computes on; outside an image, what this machine has. Images are built for cpu and cuda."""

    accelerators: Annotated[tuple[Accelerator, ...], Field(max_length=MOST)] = ()
    """All of the device's kind; of others none."""

<<<<<<< HEAD
    cpu_name: Annotated[str, Field(max_length=200), AfterValidator(_printable)] | None = None
=======
    cpu_name: Annotated[Words, Field(max_length=200)] | None = None
>>>>>>> facts
    """As the system reports it."""

    cpu_cores: Annotated[int, Field(ge=1, le=100_000)]
    """Cores that this process may use."""

    ram_gib: Size
    """Memory that this process may use, GiB: the machine's, or less under a container limit."""

    ram_free_gib: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Of it free when it was looked at, GiB; None: not looked."""

    disk_free_gib: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """Free space of the store, GiB."""

    shm_gib: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """Size of /dev/shm, GiB."""

    disk_write_gib: Speed | None = None
    """GiB that the store's disk takes a second as checkpoints are written: hashed, one stream, flushed. None: not measured yet."""

    rates: Rates | None = None
    """As this machine was measured by `caisson calibrate`; None: not yet."""

    network: bool = True
    """Whether this process can see any other network interface than loopback."""

    program: str = ""
    """Version of this program; a file about another machine need not say it."""

    models: dict[str, ModelFacts] = {}
    """By model source, for those that are at hand."""

    sources: dict[str, SourceFacts] = {}
    """By local source."""

    code: dict[str, CodeFacts] = {}
    """By source, for plug-ins that are at hand."""

    template_marks: tuple[str, ...] | None = None
    """What of schemas.template_marks stands in the chat template that will be served; None: no template is at hand."""

    adapters: dict[str, AdapterFacts | None] = {}
    """By the name under which it is served; None: looked for, and not there."""

    avx512: bool | None = None
    """Whether the CPU has AVX-512 or AMX; None: not looked."""

    node: Count = 0
    """Which of several nodes that serve one model this is."""

    @model_validator(mode="after")
    def _agrees(self) -> "Facts":
        if self.device == "cpu" and self.accelerators:
            raise PydanticCustomError("device", "device is cpu and accelerators are named: one of the two is wrong")
        if other := next((one.kind for one in self.accelerators if one.kind != self.device), None):
            words = {"device": self.device, "kind": other}
            raise PydanticCustomError("device", "device is {device} and an accelerator is of kind {kind}: all are of the device's", words)
        if self.ram_free_gib is not None and self.ram_free_gib > self.ram_gib:
            raise PydanticCustomError("free", "ram_free_gib is more than ram_gib")
        return self

    @property
    def smallest(self) -> Accelerator:
        """The accelerator with the least memory; all hold equal shares."""
        return min(self.accelerators, key=lambda one: one.memory_gib)

    @property
    def oldest(self) -> Accelerator:
        """The accelerator with the lowest compute capability; all compute alike."""
        return min(self.accelerators, key=lambda one: one.generation)
