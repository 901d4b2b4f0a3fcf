"""What a machine is, as recorded; entrypoint.probe is the only module that looks."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from schemas.accelerator import SLOWEST as SLOWEST
from schemas.accelerator import Accelerator as Accelerator
from schemas.accelerator import Link as Link
from schemas.accelerator import Size, Speed, Words
from schemas.anatomy import Anatomy
from schemas.base import Record
from schemas.code import CodeFacts
from schemas.history import Measured
from schemas.rates import Rates

Device = Literal["cpu", "cuda", "rocm", "npu", "mps"]

IMAGES = ("cpu", "cuda")
"""What there are images for. The other devices can be described, and a plan for one says that nothing computes there."""

MOST = 1024
"""Accelerators of one machine."""

Count = Annotated[int, Field(ge=0)]


class ModelFacts(Record):
    """What the config of a model says; enough to count its weights and activations."""

    config: dict[str, Any]
    """config.json as it stands."""

    stored_bytes: Count | None = None
    """Bytes of its weight files, where they are at hand."""

    anatomy: Anatomy | None = None
    """What a build of it on no device says; None before it is fetched, unless `caisson anatomy` has counted it."""


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

    cpu_name: Annotated[Words, Field(max_length=200)] | None = None
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

    history: tuple[Measured, ...] = ()
    """What finished trainings measured here, oldest first."""

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
