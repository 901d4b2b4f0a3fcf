"""Memory, limits of a process, and the clock."""

import resource
import time
from pathlib import Path

from entrypoint.doctor.finding import Finding
from schemas.facts import Facts

RAM_GIB = 8
"""The demo's server takes 3 GiB, its training less than 4."""

SHM_GIB = 1.0
"""NCCL and data loaders pass tensors through shared memory; 64 MiB, the engine's default, is too little (vllm#1710)."""

OPEN_FILES = 4096
"""Shards, sockets of a thousand streams, and the engine's own; a shell's 1024 is too few."""

SLACK = 300
"""Seconds that a clock may be behind what was written last: file systems of other machines have clocks of their own."""


def memory_finding(facts: Facts) -> Finding:
    """RAM against what the demo needs."""
    if facts.ram_gib >= RAM_GIB:
        return Finding("D301", "memory", "ok", f"{facts.ram_gib:.1f} GiB")
    fix = "stop other programs, or raise the container's memory limit"
    return Finding("D301", "memory", "warn", f"{facts.ram_gib:.1f} GiB, {RAM_GIB} GiB advised", fix)


def shared_memory_finding(facts: Facts) -> Finding:
    """/dev/shm of a container."""
    if facts.shm_gib >= SHM_GIB:
        return Finding("D302", "shared memory", "ok", f"{facts.shm_gib:.1f} GiB")
    return Finding("D302", "shared memory", "warn", f"{facts.shm_gib * 1024:.0f} MiB at /dev/shm", "set SHM_SIZE=8gb in .env, or --shm-size with docker run")


def open_files_finding() -> Finding:
    """How many files a process may have open: the hard limit, up to which programs raise theirs."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= OPEN_FILES:
        return Finding("D303", "open files", "ok", "no limit" if hard == resource.RLIM_INFINITY else f"up to {hard}")
    fix = 'raise it: "default-ulimits" in /etc/docker/daemon.json, or ulimit -n on the host'
    return Finding("D303", "open files", "warn", f"up to {hard}, {OPEN_FILES} advised", fix)


def clock_finding(store: Path) -> Finding:
    """Whether the clock is behind what this program or the store was written at: certificates and the order of artifacts go by it."""
    places = [Path(__file__), store, *(path for path in store.glob("*") if not path.is_symlink())] if store.is_dir() else [Path(__file__)]
    written = max(path.stat().st_mtime for path in places)
    behind = written - time.time()
    now = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    if behind <= SLACK:
        return Finding("D304", "clock", "ok", now)
    fix = "set the clock: timedatectl, or NTP inside the site; certificates and tokens are checked against it"
    return Finding("D304", "clock", "warn", f"{now}, {behind / 3600:.1f} hours before what was last written here", fix)
