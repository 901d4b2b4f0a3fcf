"""Offload to the host's memory or to files: what it goes with, and whether there is room."""

from entrypoint.plan.host_memory import disk_bytes
from entrypoint.plan.load import GIB, Load
from entrypoint.plan.model_shape import ModelShape
from entrypoint.plan.tables import DEFAULTS
from schemas.errors import MachineError, UsageError
from schemas.facts import Facts
from schemas.plan import Decision
from schemas.spec import Spec

AUTOMATIC = ["zero2", "zero3"]
"""Strategies that know offload, the faster first: zero2 keeps the weights where they compute."""

PLACES = {"cpu": "the host's memory", "nvme": "files of the store"}

PASSES = 2
"""Times that a step moves what lies in files: it reads all of it and writes all of it back."""


def check_offload(spec: Spec) -> None:
    """Raises UsageError for a strategy that has nothing to offload with, and for files where all nodes share one store."""
    named, where = spec.hardware.strategy, spec.hardware.offload
    if where == "none":
        return
    if named is not None and not named.startswith("zero"):
        raise UsageError(
            f"hardware.offload: {where} is DeepSpeed's, so {named} does not go with it",
            f"use strategy: zero2 with offload: {where} (one GPU is enough), or take offload out",
        )
    if where == "nvme" and spec.hardware.nodes > 1:
        raise UsageError("hardware.offload: nvme keeps its files on the store, which several nodes reach over a network", "use offload: cpu, or one node")


def why_strategy(load: Load) -> str:
    """Of an automatic choice under offload."""
    place = PLACES[load.offload]
    if load.strategy == "zero2":
        return f"hardware.offload: the optimizer lies in {place}, the weights fit where they compute"
    return f"hardware.offload: optimizer and weights lie in {place}, layers come one by one"


def room_on_disk(shape: ModelShape, load: Load, facts: Facts) -> bool:
    """Whether the store takes the files of a load."""
    return sum(disk_bytes(shape, load).values()) / GIB <= facts.disk_free_gib


def show_disk(shape: ModelShape, load: Load, facts: Facts) -> list[Decision]:
    """Room that files take and how long a step waits for them; nothing without any. Raises MachineError where the store has too little."""
    terms = disk_bytes(shape, load)
    if not terms:
        return []
    gib, words = sum(terms.values()) / GIB, ", ".join(f"{name} {size / GIB:.2f}" for name, size in sorted(terms.items(), key=lambda term: -term[1]))
    if not room_on_disk(shape, load, facts):
        raise MachineError(
            f"hardware.offload: nvme fills {gib:.1f} GiB of the store ({words}), {facts.disk_free_gib:.1f} GiB are free",
            "make room there, put the store on a larger disk, or use offload: cpu where memory suffices",
        )
    speed = facts.disk_write_gib or float(DEFAULTS["disk_write_gib"]["value"])
    moved = gib - terms["checkpoint copy"] / GIB
    how = "measured with checkpoints" if facts.disk_write_gib else "assumed until it is measured"
    return [
        Decision(field="offload files", value=f"{gib:.1f} of {facts.disk_free_gib:.1f} GiB on the store", why=words, source="formulas in docs/plan.md"),
        Decision(
            field="offload step",
            value=f"at most {PASSES * moved / speed:.0f} s",
            why=f"{moved:.1f} GiB are read and written at {speed:.2f} GiB/s, {how}; less where memory keeps a part of them",
        ),
    ]
