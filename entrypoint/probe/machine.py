"""Processor, memory and disk of this machine, as far as this process may use them; every number that it cannot get is an error, not a guess."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import psutil

from entrypoint.probe.command import ask, printable
from schemas.facts import DISK_SPEED, read_disk_speed

NAMES_OF_A_CPU = ("model name", "Model name", "Hardware", "cpu model")
"""Keys of /proc/cpuinfo, which differ by architecture."""


def usable_cores() -> int:
    """Cores of this process's affinity mask, where the system has one, fewer under a container's CPU quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.is_file():
        limit, period = quota.read_text().split()
        if limit != "max":
            cores = max(1, min(cores, int(limit) // int(period)))
    return cores


def usable_ram() -> int:
    """Bytes of RAM, less under a container's memory limit."""
    return min(psutil.virtual_memory().total, *_limits())


def free_ram() -> int:
    """Bytes of RAM that are free or can be freed at once, less where a container's limit leaves less."""
    free = psutil.virtual_memory().available
    group = Path("/sys/fs/cgroup")
    for limit, used, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            left = int((group / limit).read_text()) - int((group / used).read_text())
            said = dict(line.split() for line in (group / Path(used).parent / "memory.stat").read_text().splitlines())
            free = min(free, max(0, left) + int(said.get(cache, 0)))
        except (OSError, ValueError):  # no such group, or one without a limit
            continue
    return min(free, usable_ram())


def _limits() -> list[int]:
    """Memory limits of this process's control group, bytes: cgroup v2, and v1, where no limit is a number near 2^63."""
    found = [Path(f"/sys/fs/cgroup/{name}") for name in ("memory.max", "memory/memory.limit_in_bytes")]
    said = [limit.read_text().strip() for limit in found if limit.is_file()]
    return [int(text) for text in said if text != "max"] or [sys.maxsize]


def cpu_name() -> str | None:
    """The processor as the system reports it; None where it has no name, as most ARM servers."""
    try:
        if sys.platform == "darwin":
            return printable(ask("sysctl", "-n", "machdep.cpu.brand_string"), 200) or None
        return parse_cpu_name(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")) or platform.processor() or None
    except (OSError, subprocess.SubprocessError):
        return None


def parse_cpu_name(text: str) -> str | None:
    """The name in /proc/cpuinfo."""
    pairs = [line.partition(":") for line in text.splitlines()]
    said = {key.strip(): value for key, _, value in reversed(pairs) if value.strip()}
    return next((printable(" ".join(said[key].split()), 200) for key in NAMES_OF_A_CPU if key in said), None)


def has_avx512() -> bool:
    """By the names that Linux lists; what torch asks of the processor for its widest kernels."""
    try:
        flags = set(next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), "").split())
    except OSError:
        return False
    return {"avx512f", "avx512vl", "avx512bw", "avx512dq"} <= flags or "amx_tile" in flags


def shared_memory() -> int:
    """Bytes of /dev/shm; 0 where there is none, as on macOS."""
    try:
        return shutil.disk_usage("/dev/shm").total
    except FileNotFoundError:
        return 0


def disk_write_gib(store: Path) -> float | None:
    """What the store remembers of its disk, GiB a second: measured while a stage ran, since looking must not write."""
    try:
        found = read_disk_speed((store / DISK_SPEED).read_bytes())
    except OSError:
        return None
    return found.gib_per_second if found else None


def remembered(path: Path) -> bytes:
    """Content of a file in which the store remembers something; empty where there is none."""
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


def is_writable(folder: Path) -> bool:
    """Whether files can be made in the folder or, where it is not there, it in its closest parent."""
    nearest = nearest_folder(folder)
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK, effective_ids=True)
