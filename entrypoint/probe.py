"""Machine and environment -> Facts. The only reader of both; every number that it cannot get is an error, not a guess."""

import errno
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import psutil

from entrypoint import __version__
from schemas.errors import MachineError
from schemas.facts import DISK_SPEED, Accelerator, Device, Facts, ModelFacts, SourceFacts, read_disk_speed
from schemas.history import HISTORY, read_history
from schemas.model import HUBS
from schemas.rates import RATES, read_rates

GIB = 1024**3
GLOB_CHARACTERS = "*?["
MAX_FILES = 100_000
"""Of one source: looked at on every run. `/` has more."""

GONE = (errno.ENOENT, errno.ESRCH, errno.ELOOP, errno.ENOTDIR)
"""What a file or folder that is listed may turn out to be: a link to nowhere, or, in /proc, of a process that has ended."""

CONFIG_BYTES = 64 * 2**20
"""No config is larger."""


def probe(store: Path, sources: tuple[str, ...] = (), model_folders: dict[str, Path] | None = None) -> Facts:
    """This machine, with the state of local `sources` and the configs of models at hand (`model_folders`, by source)."""
    device = image_device()
    found = accelerators() if device == "cuda" else ()
    return Facts(
        device=device,
        accelerators=found,
        cpu_cores=usable_cores(),
        ram_gib=round(usable_ram() / GIB, 2),
        disk_free_gib=round(shutil.disk_usage(nearest_folder(store)).free / GIB, 1),
        disk_write_gib=disk_write_gib(store),
        rates=read_rates(_content(store / RATES)).of(found[0].name if found else "cpu"),
        history=read_history(_content(store / HISTORY)),
        shm_gib=round(shutil.disk_usage("/dev/shm").total / GIB, 2),
        network=has_network(),
        node=node_rank(),
        avx512=has_avx512(),
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


def has_avx512() -> bool:
    """By the names that Linux lists; what torch asks of the processor for its widest kernels."""
    try:
        flags = set(next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), "").split())
    except OSError:
        return False
    return {"avx512f", "avx512vl", "avx512bw", "avx512dq"} <= flags or "amx_tile" in flags


def node_rank() -> int:
    """Which of several nodes that serve one model this is, from NODE_RANK."""
    said = os.environ.get("NODE_RANK") or "0"
    if not (said.isascii() and said.isdigit()):
        raise MachineError(f"NODE_RANK is {said!r}", "it must be 0 on the first node, 1 on the second, and so on")
    return int(said)


def accelerators() -> tuple[Accelerator, ...]:
    """NVIDIA GPUs as NVML lists them, as far as CUDA_VISIBLE_DEVICES lets this process see them; empty without a driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        found = []
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        for index in visible([str(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles], os.environ.get("CUDA_VISIBLE_DEVICES")):
            handle = handles[index]
            major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle).total / GIB
            name = "".join(letter for letter in str(pynvml.nvmlDeviceGetName(handle)) if letter.isprintable())[:200]
            found.append(Accelerator(name=name, memory_gib=round(memory, 2), compute_capability=f"{major}.{minor}"))
        return tuple(found)
    finally:
        pynvml.nvmlShutdown()


def visible(ids: Sequence[str], wanted: str | None) -> list[int]:
    """Places of the GPUs with these ids that a process sees, by the rules of CUDA_VISIBLE_DEVICES: places or starts of ids, up to the first that is none."""
    if wanted is None:
        return list(range(len(ids)))
    found: list[int] = []
    for word in (part.strip() for part in wanted.split(",")):
        if word.isascii() and word.isdigit():
            at = int(word) if int(word) < len(ids) else None
        else:
            at = next((place for place, known in enumerate(ids) if word and known.startswith(word)), None)
        if at is None or at in found:
            break
        found.append(at)
    return found


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
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # cgroup v2, and v1, where no limit is a number near 2^63
        limit = Path(f"/sys/fs/cgroup/{name}")
        if limit.is_file() and (said := limit.read_text().strip()) != "max":
            total = min(total, int(said))
    return total


def disk_write_gib(store: Path) -> float | None:
    """What the store remembers of its disk, GiB a second: measured while a stage ran, since looking must not write."""
    try:
        found = read_disk_speed((store / DISK_SPEED).read_bytes())
    except OSError:
        return None
    return found.gib_per_second if found else None


def _content(path: Path) -> bytes:
    """Of a file that the store remembers something in; empty where there is none."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def has_network() -> bool:
    """Whether an interface other than loopback is up; a container with `network_mode: none` has no other."""
    return any(found.isup and "loopback" not in found.flags.split(",") for found in psutil.net_if_stats().values())


def nearest_folder(path: Path) -> Path:
    """The path or its closest parent that exists, as far as this user can see."""
    while True:
        try:
            if path.exists():
                return path
        except OSError:  # a name that is too long, a folder that may not be entered
            pass
        if path == path.parent:
            return path
        path = path.parent


def look(source: str) -> SourceFacts:
    """A local file, folder or glob as it lies on the disk; what cannot be read is a fact, not an error."""
    try:
        return _look(Path(source))
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):  # nothing can be there
            return SourceFacts(kind="missing")
        return SourceFacts(kind="unreadable", fault=f"{error.filename or source} cannot be read: {error.strerror}")


def _look(path: Path) -> SourceFacts:
    if path.is_file():
        return SourceFacts(kind="file", files=_stat([(path, path.name)]))
    if path.is_dir():
        return _folder([(p, p.relative_to(path).as_posix()) for p in sorted(islice(_walk(path), MAX_FILES + 1))])
    if any(c in str(path) for c in GLOB_CHARACTERS):
        parent = Path(path.anchor) if path.is_absolute() else Path()
        found = _folder([(p, str(p)) for p in sorted(islice(parent.glob(str(path.relative_to(path.anchor))), MAX_FILES + 1))])
        return found if found.files or found.fault else SourceFacts(kind="missing")
    return SourceFacts(kind="missing")


def _folder(files: list[tuple[Path, str]]) -> SourceFacts:
    if len(files) > MAX_FILES:
        return SourceFacts(kind="unreadable", fault=f"more than {MAX_FILES:,} files")
    return SourceFacts(kind="folder", files=_stat(files))


def _walk(folder: Path) -> Iterator[Path]:
    """Everything below a folder but folders. Raises OSError for a folder that may not be listed: its files would be missing in silence.
    Not for a hidden one, of which fetch takes nothing."""

    def refuse(error: OSError) -> None:
        hidden = any(part.startswith(".") for part in Path(error.filename).relative_to(folder).parts)
        if error.errno not in GONE and not hidden:
            raise error

    for base, _, names in os.walk(folder, onerror=refuse):
        yield from (Path(base, name) for name in names)


def _stat(paths: list[tuple[Path, str]]) -> tuple[tuple[str, int, int], ...]:
    """Path as shown, bytes and time of change of those that are regular files, after links."""
    files = []
    for path, shown in paths:
        try:
            found = path.stat()
        except OSError as error:
            if error.errno not in GONE:
                raise
            continue
        if stat.S_ISREG(found.st_mode):
            files.append((shown, found.st_size, found.st_mtime_ns))
    return tuple(files)


def read_model(folder: Path) -> ModelFacts | None:
    """config.json of a model folder; None where there is none that can be read (fetch says why)."""
    path = folder / "config.json"
    try:
        if not path.is_file() or path.stat().st_size > CONFIG_BYTES:
            return None
        config = json.loads(path.read_bytes())
        if not isinstance(config, dict):
            return None
        weights = sum(size for _, size, _ in _stat([(p, p.name) for p in folder.glob("*.safetensors")]))
    except (OSError, ValueError, RecursionError):
        return None
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


def key_file() -> Path | None:
    """The gateway's file of API keys, where one is in sight: what is mounted in its container, what Compose would mount on a host. None for one
    that is there and that only the gateway's user may read."""
    path = Path("/run/secrets/gateway" if in_container() else os.environ.get("GATEWAY_SECRETS") or "secrets/gateway") / "keys"
    try:
        return path if path.exists() and (in_container() or os.access(path, os.R_OK)) else None
    except OSError:
        return None


def is_writable(folder: Path) -> bool:
    """Whether files can be made in the folder or, where it is not there, it in its closest parent."""
    nearest = nearest_folder(folder)
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK, effective_ids=True)
