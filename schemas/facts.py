"""What a machine is, as recorded; entrypoint.probe is the only module that looks."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Record
from schemas.code import CodeFacts
from schemas.history import Measured
from schemas.rates import Rates

Device = Literal["cpu", "cuda"]

SLOWEST = 1e-3
"""GiB a second: a megabyte, which any disk takes that a store can lie on."""

Size = Annotated[float, Field(gt=0, lt=1e9, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Speed = Annotated[float, Field(ge=SLOWEST, lt=1e6, allow_inf_nan=False)]


def _printable(value: str) -> str:
    if not value.isprintable():
        raise PydanticCustomError("printable", "holds characters that cannot be printed and would reach the terminal as commands")
    return value


class Accelerator(Record):
    """One accelerator."""

    name: Annotated[str, Field(max_length=200), AfterValidator(_printable)]
    """As the driver reports it."""

    memory_gib: Size
    """All of its memory, GiB."""

    compute_capability: Annotated[str, Field(pattern=r"^[0-9]{1,2}\.[0-9]$")]
    """Such as 9.0."""

    @property
    def has_bf16(self) -> bool:
        """bf16 matrix units came with compute capability 8.0 (CUDA C++ programming guide, arithmetic instructions)."""
        return float(self.compute_capability) >= 8.0


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
    """What this image computes on."""

    accelerators: tuple[Accelerator, ...] = ()
    cpu_cores: Annotated[int, Field(ge=1, le=100_000)]
    """Cores that this process may use."""

    ram_gib: Size
    """Memory that this process may use, GiB: the machine's, or less under a container limit."""

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

    program: str
    """Version of this program."""

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
    def _accelerators_belong_to_cuda(self) -> "Facts":
        if self.device == "cpu" and self.accelerators:
            raise PydanticCustomError("device", "device is cpu and accelerators are named: one of the two is wrong")
        return self

    @property
    def smallest(self) -> Accelerator:
        """The accelerator with the least memory; all hold equal shares."""
        return min(self.accelerators, key=lambda one: one.memory_gib)

    @property
    def oldest(self) -> Accelerator:
        """The accelerator with the lowest compute capability; all compute alike."""
        return min(self.accelerators, key=lambda one: tuple(map(int, one.compute_capability.split("."))))
