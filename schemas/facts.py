"""What a machine is, as recorded; entrypoint.probe is the only module that looks."""

from typing import Annotated, Any, Literal

from pydantic import Field

from schemas.base import Record

Device = Literal["cpu", "cuda"]
Size = Annotated[float, Field(gt=0, lt=1e9, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]


class Accelerator(Record):
    """One accelerator."""

    name: str
    """As the driver reports it."""

    memory_gib: Size
    """All of its memory, GiB."""

    compute_capability: Annotated[str, Field(pattern=r"^\d{1,2}\.\d$")]
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


class SourceFacts(Record):
    """A local source as it lies on the disk."""

    kind: Literal["file", "folder", "missing", "unreadable"]
    files: tuple[tuple[str, Count, int], ...] = ()
    """Path inside the source, bytes, time of last change in nanoseconds; sorted."""

    fault: str = ""
    """Why it is unreadable."""


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

    network: bool = True
    """Whether this process can see any other network interface than loopback."""

    program: str
    """Version of this program."""

    models: dict[str, ModelFacts] = {}
    """By model source, for those that are at hand."""

    sources: dict[str, SourceFacts] = {}
    """By local source."""
