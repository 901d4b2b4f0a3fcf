"""What on this machine will stand in the way, each finding with its fix."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from entrypoint import probe
from entrypoint.run.gateway_keys import read_keys
from schemas.accelerator import PLATFORMS, Accelerator
from schemas.errors import CaissonError, MachineError
from schemas.facts import IMAGES, Facts

ENGINE_AT_LEAST = (26, 0)
COMPOSE_AT_LEAST = (2, 26)
DISK_GIB = {"cpu": 15, "cuda": 60}
"""Images, one small model and its checkpoints; sizes are in docs/images.md."""

RAM_GIB = 8
"""The demo's server takes 3 GiB, its training less than 4."""

SHM_GIB = 1.0
"""NCCL and data loaders pass tensors through shared memory; 64 MiB, the engine's default, is too little (vllm#1710)."""


@dataclass(frozen=True)
class Finding:
    """One check: `ok`, `warn` or `fail`, what was found, and what to do."""

    check: str
    state: str
    found: str
    fix: str = ""


def see(store: Path) -> tuple[Facts, MachineError | None]:
    """This machine; where a driver does not answer, what is wrong with it, and the machine without it."""
    try:
        return probe.probe(store), None
    except MachineError as error:
        return probe.probe(store, found=("cpu", ())), error


def examine(facts: Facts, store: Path, fault: MachineError | None = None) -> list[Finding]:
    """Every check that makes sense where this runs: the engine on a host, shared memory in a container. `fault` is a driver's."""
    gpu = Finding("GPU", "fail", fault.what, fault.fix or "") if fault else _gpu(facts)
    findings = [gpu, _disk(facts), _ram(facts), _store(store), *_key()]
    if probe.in_container():
        return [*findings, _shm(facts)]
    return [*_engine(facts), *findings]


def _engine(facts: Facts) -> list[Finding]:
    said = probe.engine()
    if said.error:
        return [Finding("engine", "fail", said.error, "start Docker, or install it: `make engine` does both on Debian 12 and 13")]
    findings = [
        _version("engine", said.version, ENGINE_AT_LEAST),
        _version("compose", said.compose, COMPOSE_AT_LEAST),
    ]
    if facts.device == "cuda" and "nvidia" not in said.runtimes:
        findings.append(
            Finding(
                "container GPU",
                "fail",
                f"runtimes: {', '.join(said.runtimes)}",
                "install the NVIDIA container toolkit and run `nvidia-ctk runtime configure`, then restart Docker",
            )
        )
    return findings


def _version(check: str, said: str, least: tuple[int, int]) -> Finding:
    wanted = ".".join(map(str, least))
    numbers = tuple(int(part) for part in said.lstrip("v").split("-")[0].split(".")[:2] if part.isdigit())
    if numbers >= least:
        return Finding(check, "ok", said)
    return Finding(check, "fail", f"{said}, {wanted} needed", f"upgrade to {wanted} or later")


def _gpu(facts: Facts) -> Finding:
    if facts.accelerators:
        kinds = Counter(_accelerator(one) for one in facts.accelerators)
        found = "; ".join(f"{count} x {kind}" for kind, count in kinds.items())
        if facts.device not in IMAGES:
            fix = "set CAISSON_ACCELERATOR=cpu to plan for the processor, and ACCELERATOR=cpu for Compose"
            return Finding("GPU", "warn", f"{found}; no image computes on {PLATFORMS[facts.accelerators[0].kind]}", fix)
        return Finding("GPU", "ok", found)
    if facts.device == "cuda":
        return Finding("GPU", "fail", "none seen by NVML", "check `nvidia-smi` on the host and the container toolkit, or set ACCELERATOR=cpu")
    return Finding("GPU", "ok", "none; the CPU images are used")


def _accelerator(one: Accelerator) -> str:
    parts = [one.name, f"{one.memory_gib:.0f} GiB"]
    if one.compute_capability:
        parts.append(f"compute capability {one.compute_capability}")
    if one.link and one.link.kind != "none":
        parts.append(f"linked by {one.link.kind}" + (f", {one.link.gib_per_second:.0f} GiB/s" if one.link.gib_per_second else ""))
    return ", ".join(parts)


def _disk(facts: Facts) -> Finding:
    need = DISK_GIB["cuda" if facts.device == "cuda" else "cpu"]
    if facts.disk_free_gib >= need:
        return Finding("disk", "ok", f"{facts.disk_free_gib:.0f} GiB free")
    return Finding(
        "disk",
        "warn",
        f"{facts.disk_free_gib:.1f} GiB free, {need} GiB advised",
        "make room on the store's file system; `docker builder prune` frees build caches",
    )


def _ram(facts: Facts) -> Finding:
    if facts.ram_gib >= RAM_GIB:
        return Finding("memory", "ok", f"{facts.ram_gib:.1f} GiB")
    return Finding("memory", "warn", f"{facts.ram_gib:.1f} GiB, {RAM_GIB} GiB advised", "stop other programs, or raise the container's memory limit")


def _shm(facts: Facts) -> Finding:
    if facts.shm_gib >= SHM_GIB:
        return Finding("shared memory", "ok", f"{facts.shm_gib:.1f} GiB")
    return Finding("shared memory", "warn", f"{facts.shm_gib * 1024:.0f} MiB at /dev/shm", "set SHM_SIZE=8gb in .env, or --shm-size with docker run")


def _key() -> list[Finding]:
    """Nothing in a container that has no key to see; on a host a missing one, or one that only the server's user may read, is no fault yet."""
    key = probe.key_file()
    if key is None:
        return []
    try:
        read_keys(key)
    except CaissonError as error:
        return [Finding("API keys", "fail", error.what, error.fix or "")]
    return [Finding("API keys", "ok", str(key))]


def _store(store: Path) -> Finding:
    if probe.is_writable(store):
        return Finding("store", "ok", str(store))
    return Finding("store", "fail", f"{store} is not writable", "give it to uid 10001: chown -R 10001:10001, or name another with --store")
