"""Machine and environment -> Facts. The only reader of both; every number that it cannot get is an error, not a guess."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

from entrypoint import __version__
from schemas.errors import MachineError
from schemas.facts import Accelerator, Device, Facts, ModelFacts, SourceFacts
from schemas.model import HUBS

GIB = 1024**3
GLOB_CHARACTERS = "*?["


def probe(store: Path, sources: tuple[str, ...] = (), model_folders: dict[str, Path] | None = None) -> Facts:
    """This machine, with the state of local `sources` and the configs of models at hand (`model_folders`, by source)."""
    device = image_device()
    return Facts(
        device=device,
        accelerators=accelerators() if device == "cuda" else (),
        cpu_cores=usable_cores(),
        ram_gib=round(usable_ram() / GIB, 2),
        disk_free_gib=round(shutil.disk_usage(nearest_folder(store)).free / GIB, 1),
        shm_gib=round(shutil.disk_usage("/dev/shm").total / GIB, 2),
        network=has_network(),
        program=__version__,
        models={source: facts for source, folder in (model_folders or {}).items() if (facts := read_model(folder))},
        sources={s: look(s) for s in sources if s.partition("://")[0] not in HUBS},
    )


def image_device() -> Device:
    """What this image was built for; outside an image, cuda where a driver answers."""
    said = os.environ.get("CAISSON_ACCELERATOR")
    if said in ("cpu", "cuda"):
        return said  # type: ignore[return-value]
    if said:
        raise MachineError(f"CAISSON_ACCELERATOR is {said!r}", "it must be cpu or cuda")
    return "cuda" if accelerators() else "cpu"


def accelerators() -> tuple[Accelerator, ...]:
    """NVIDIA GPUs as NVML lists them; empty without a driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        found = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle).total / GIB
            found.append(Accelerator(name=str(pynvml.nvmlDeviceGetName(handle)), memory_gib=round(memory, 2), compute_capability=f"{major}.{minor}"))
        return tuple(found)
    finally:
        pynvml.nvmlShutdown()


def usable_cores() -> int:
    """Cores of this process's affinity mask, fewer under a container's CPU quota."""
    cores = len(os.sched_getaffinity(0))
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.is_file():
        limit, period = quota.read_text().split()
        if limit != "max":
            cores = max(1, min(cores, int(limit) // int(period)))
    return cores


def usable_ram() -> int:
    """Bytes of RAM, less under a container's memory limit."""
    total = psutil.virtual_memory().total
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (said := limit.read_text().strip()) != "max":
        return min(total, int(said))
    return total


def has_network() -> bool:
    """Whether an interface other than loopback is up; a container with `network_mode: none` has no other."""
    return any(found.isup and "loopback" not in found.flags.split(",") for found in psutil.net_if_stats().values())


def nearest_folder(path: Path) -> Path:
    """The path or its closest parent that exists."""
    while not path.exists():
        path = path.parent
    return path


def look(source: str) -> SourceFacts:
    """A local file, folder or glob as it lies on the disk."""
    path = Path(source)
    if path.is_file():
        return SourceFacts(kind="file", files=(_stat(path, path.name),))
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        return SourceFacts(kind="folder", files=tuple(_stat(p, p.relative_to(path).as_posix()) for p in files))
    if any(c in source for c in GLOB_CHARACTERS):
        parent = Path(path.anchor) if path.is_absolute() else Path()
        files = sorted(p for p in parent.glob(str(path.relative_to(path.anchor))) if p.is_file())
        return SourceFacts(kind="folder" if files else "missing", files=tuple(_stat(p, str(p)) for p in files))
    return SourceFacts(kind="missing")


def _stat(path: Path, shown: str) -> tuple[str, int, int]:
    found = path.stat()
    return shown, found.st_size, found.st_mtime_ns


def read_model(folder: Path) -> ModelFacts | None:
    """config.json of a model folder; None where there is none that can be read (fetch says why)."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(config, dict):
        return None
    weights = sum(p.stat().st_size for p in folder.glob("*.safetensors"))
    return ModelFacts(config=config, stored_bytes=weights or None)


@dataclass(frozen=True)
class Engine:
    """What the container engine said: versions, or why it did not answer."""

    version: str = ""
    compose: str = ""
    runtimes: tuple[str, ...] = ()
    error: str = ""


def engine() -> Engine:
    """Docker Engine and Compose as this machine has them."""
    if not shutil.which("docker"):
        return Engine(error="no docker on the PATH")
    try:
        version = _ask("docker", "version", "--format", "{{.Server.Version}}")
        runtimes = json.loads(_ask("docker", "info", "--format", "{{json .Runtimes}}"))
        return Engine(version, _ask("docker", "compose", "version", "--short"), tuple(sorted(runtimes)))
    except subprocess.CalledProcessError as error:
        said = (error.stderr or "").strip().splitlines()
        return Engine(error=said[-1] if said else f"docker ended with {error.returncode}")
    except subprocess.TimeoutExpired:
        return Engine(error="docker did not answer within 10 s")
    except ValueError:
        return Engine(error="docker answers in another form than is known")


def _ask(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, timeout=10, check=True).stdout.strip()


def in_container() -> bool:
    """Whether this process runs inside one of the images."""
    return "CAISSON_IMAGE" in os.environ


def is_writable(folder: Path) -> bool:
    """Whether files can be made in the folder or its closest existing parent."""
    return os.access(nearest_folder(folder), os.W_OK)
