"""The GPUs, their driver, and whether the images hold kernels for them."""

from collections import Counter

from entrypoint.doctor.finding import Finding
from entrypoint.plan.device import CUDA, OLDEST, too_old
from schemas.accelerator import PLATFORMS, Accelerator
from schemas.errors import MachineError
from schemas.facts import IMAGES, Facts

DRIVER_AT_LEAST = 580
"""For CUDA 13 on Linux (NVIDIA, CUDA toolkit release notes, table of minimum driver versions)."""


def gpu_findings(facts: Facts, fault: MachineError | None) -> list[Finding]:
    """Which there are; of NVIDIA's also whether driver and kernels fit."""
    if fault:
        return [Finding("D201", "GPU", "fail", fault.what, fault.fix or "")]
    findings = [_listed(facts)]
    if facts.device == "cuda" and facts.accelerators:
        findings += [*_driver(facts.accelerators), _kernels(facts.accelerators)]
    return findings


def _listed(facts: Facts) -> Finding:
    if facts.accelerators:
        kinds = Counter(_named(one) for one in facts.accelerators)
        found = "; ".join(f"{count} x {kind}" for kind, count in kinds.items())
        if facts.device not in IMAGES:
            fix = "set CAISSON_ACCELERATOR=cpu to plan for the processor, and ACCELERATOR=cpu for Compose"
            return Finding("D201", "GPU", "warn", f"{found}; no image computes on {PLATFORMS[facts.accelerators[0].kind]}", fix)
        return Finding("D201", "GPU", "ok", found)
    if facts.device == "cuda":
        fix = "check `nvidia-smi` on the host and the container toolkit, or set ACCELERATOR=cpu"
        return Finding("D201", "GPU", "fail", "none seen by NVML", fix)
    return Finding("D201", "GPU", "ok", "none; the CPU images are used")


def _named(one: Accelerator) -> str:
    parts = [one.name, f"{one.memory_gib:.0f} GiB"]
    if one.compute_capability:
        parts.append(f"compute capability {one.compute_capability}")
    if one.link and one.link.kind != "none":
        parts.append(f"linked by {one.link.kind}" + (f", {one.link.gib_per_second:.0f} GiB/s" if one.link.gib_per_second else ""))
    return ", ".join(parts)


def _driver(cards: tuple[Accelerator, ...]) -> list[Finding]:
    """Nothing where the driver's version is not known: recorded machines may lack it."""
    said = next((card.driver for card in cards if card.driver), None)
    if said is None:
        return []
    branch = said.split(".")[0]
    if branch.isdigit() and int(branch) >= DRIVER_AT_LEAST:
        return [Finding("D202", "driver", "ok", f"{said}, enough for CUDA {CUDA}")]
    fix = f"install NVIDIA driver {DRIVER_AT_LEAST} or later on the host"
    return [Finding("D202", "driver", "fail", f"{said}; the CUDA {CUDA} of the images needs {DRIVER_AT_LEAST}", fix)]


def _kernels(cards: tuple[Accelerator, ...]) -> Finding:
    old = too_old(cards)
    if old is None:
        return Finding("D203", "kernels", "ok", f"the CUDA images compute on capability {OLDEST[0]}.{OLDEST[1]} and later")
    found = f"{old.name} has compute capability {old.compute_capability}; CUDA {CUDA} begins at {OLDEST[0]}.{OLDEST[1]} (T4)"
    return Finding("D203", "kernels", "fail", found, "hide it with CUDA_VISIBLE_DEVICES where there are newer cards, or set ACCELERATOR=cpu")
