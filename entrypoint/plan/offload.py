"""Offload to the host's memory: what it goes with, and whether that memory is enough."""

from entrypoint.plan.memory import Load
from schemas.errors import UsageError
from schemas.spec import Spec

AUTOMATIC = ["zero2", "zero3"]
"""Strategies that know offload, the faster first: zero2 keeps the weights where they compute."""


def check_offload(spec: Spec) -> None:
    """Raises UsageError for a strategy that has nothing to offload with."""
    named = spec.hardware.strategy
    if spec.hardware.offload == "none" or named is None or named.startswith("zero"):
        return
    raise UsageError(
        f"hardware.offload: {spec.hardware.offload} is DeepSpeed's, so {named} does not go with it",
        f"use strategy: zero2 with offload: {spec.hardware.offload} (one GPU is enough), or take offload out",
    )


def why_strategy(load: Load) -> str:
    """Of an automatic choice under offload."""
    if load.strategy == "zero2":
        return "hardware.offload: the optimizer lies in the host's memory, the weights fit where they compute"
    return "hardware.offload: optimizer and weights lie in the host's memory, layers come one by one"
