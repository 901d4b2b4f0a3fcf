"""What the device of a machine can compute, and what it cannot."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from schemas.accelerator import PLATFORMS, Accelerator
from schemas.errors import MachineError
from schemas.facts import Facts
from schemas.plan import Decision
from schemas.spec import Spec

CUDA = "13.0"
"""That the train, export and serve-vllm images bring in their wheels (images/torch/requirements.cuda.txt, cuda-toolkit)."""

OLDEST = (7, 5)
"""CUDA 13 compiles for Turing and newer: Maxwell, Pascal and Volta ended with CUDA 12 (NVIDIA, CUDA 13.0 release notes, deprecated architectures)."""


def too_old(cards: Sequence[Accelerator]) -> Accelerator | None:
    """The first that the CUDA images hold no kernels for; None where they compute on all."""
    return next((one for one in cards if one.compute_capability and tuple(map(int, one.compute_capability.split("."))) < OLDEST), None)


def check_device(facts: Facts) -> Literal["cpu", "cuda"]:
    """What the image computes on. Raise MachineError where the CUDA image runs and no GPU can be seen, or no image computes on what there is."""
    if facts.device == "cuda" and not facts.accelerators:
        raise MachineError(
            "the CUDA image sees no GPU", "check the driver with nvidia-smi and the container toolkit with `caisson doctor`, or set ACCELERATOR=cpu"
        )
    return check_image(facts)


def check_image(facts: Facts) -> Literal["cpu", "cuda"]:
    """What there is an image for. Raise MachineError for a device that none is built for, and for GPUs older than their kernels."""
    if facts.device == "cuda" and (old := too_old(facts.accelerators)):
        raise MachineError(
            f"the CUDA images hold no kernels for {old.name}: it has compute capability {old.compute_capability}, and CUDA {CUDA} begins at "
            f"{OLDEST[0]}.{OLDEST[1]} (T4)",
            "hide it with CUDA_VISIBLE_DEVICES where there are newer cards, or set ACCELERATOR=cpu; to plan for another machine see docs/facts.md",
        )
    if facts.device == "cpu" or facts.device == "cuda":
        return facts.device
    have = ", ".join(f"{count} x {name}" for name, count in Counter(one.name for one in facts.accelerators).items())
    raise MachineError(
        f"no image computes on {PLATFORMS[facts.device]}" + (f" ({have})" if have else "") + ": there are images for cpu and cuda",
        'plan for its processor: set CAISSON_ACCELERATOR=cpu, or in the facts write "device": "cpu" and take out `accelerators`',
    )


def show_unlike(facts: Facts) -> list[Decision]:
    """A line where GPUs differ in what a plan depends on; nothing where they are alike."""
    kinds = {(one.memory_gib, one.compute_capability) for one in facts.accelerators}
    if len(kinds) < 2:
        return []
    small, old = facts.smallest, facts.oldest
    why = f"planned by the smallest memory, {small.memory_gib:g} GiB ({small.name}), and the oldest compute capability, {old.compute_capability} ({old.name})"
    return [Decision(field="GPUs", value=f"{len(kinds)} kinds", why=f"{why}: all hold equal shares and compute alike")]


def decide_precision(spec: Spec, facts: Facts, decisions: list[Decision]) -> str:
    """The arithmetic of training: the spec's where this device has it, else the best that it has."""
    wanted = spec.train.precision
    if wanted:
        if wanted == "bf16" and facts.device == "cuda" and not facts.oldest.has_bf16:
            raise MachineError(
                f"train.precision: {facts.oldest.name} has no bf16 (compute capability {facts.oldest.compute_capability}, 8.0 needed)",
                "write precision: fp16 or auto",
            )
        if wanted == "fp16" and facts.device == "cpu":
            raise MachineError("train.precision: a CPU does not train in fp16", "write precision: fp32 or auto")
        value, why = wanted, "set in the spec"
    elif facts.device == "cpu":
        value, why = "fp32", "on a CPU a whole step was no faster in bf16, and fp32 is exact"
    elif facts.oldest.has_bf16:
        value, why = "bf16", f"{facts.oldest.name} has bf16 matrix units"
    else:
        value, why = "fp16", f"{facts.oldest.name} has no bf16; losses are scaled"
    decisions.append(Decision(field="train.precision", value=value, why=why))
    return value
