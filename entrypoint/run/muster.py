"""What nodes make sure of before they train together: that all see one store and follow one plan."""

import secrets
import socket
import time
from pathlib import Path
from typing import Any

from entrypoint import __version__
from entrypoint.run.leaf import versions
from entrypoint.run.ranks import is_first, ranks
from entrypoint.run.seal import write_durably
from schemas.errors import MachineError
from schemas.job import Task

PATIENCE_SECONDS = 30.0
"""For a file to be seen on another node: network file systems keep what they know of a folder for some seconds."""

SHOWN = 4
"""Differences that a message names."""


def muster(task: Task) -> None:
    """Meet the ranks of all nodes, once they can speak to each other. Every rank raises the same MachineError."""
    import torch.distributed

    def gather(mine: Any) -> list[Any]:
        everyone: list[Any] = [None] * ranks()
        torch.distributed.all_gather_object(everyone, mine)
        return everyone

    node = socket.gethostname()
    # Beside the output, whose own name is another where the plan is.
    probe = Path(task.output).parent / f".one-store-{secrets.token_hex(8)}"
    if is_first():
        write_durably(probe, node)
    try:
        everyone = gather((node, probe.name, plan_of(task)))
        first, name, plan = everyone[0]
        blind = sorted({other for other, sees in gather((node, _sees(probe.with_name(name)))) if not sees})
        if blind:
            raise MachineError(
                f"the nodes have no store in common: {', '.join(blind)} cannot see what {first} wrote into {probe.parent}",
                "mount one folder (NFS or the like) as the store of every node: docs/nodes.md",
            )
        for other, _, others in everyone:
            if found := differences(plan, others):
                raise MachineError(
                    f"the nodes do not follow one plan: {first} and {other} differ in {'; '.join(found)}",
                    "give all nodes the same spec, images, and machines that are alike; `caisson plan` shows each one's",
                )
    finally:
        if is_first():
            probe.unlink(missing_ok=True)


def plan_of(task: Task) -> dict[str, Any]:
    """Everything that decides what a rank computes, by name; not what each node measures for itself."""
    inputs = {f"the {role} artifact": Path(folder).name for role, folder in task.inputs.items()}
    told = task.job.model_dump(mode="json", exclude={"track", "checkpoint_apart"})
    parts = {name: told.pop(name) for name in ("optimisation", "validation") if name in told}
    told |= {f"{'validation.' if part == 'validation' else ''}{name}": value for part, values in parts.items() for name, value in values.items()}
    return {**told, **inputs, "the program's version": __version__, **versions()}


def differences(plan: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """`name value | value` of what is not the same, the first few."""
    changed = [f"{key} {plan.get(key)} | {other.get(key)}" for key in {**plan, **other} if plan.get(key) != other.get(key)]
    return [*changed[:SHOWN], f"{len(changed) - SHOWN} more"] if len(changed) > SHOWN else changed


def _sees(path: Path) -> bool:
    end = time.monotonic() + PATIENCE_SECONDS
    while not path.is_file():
        if time.monotonic() >= end:
            return False
        time.sleep(0.1)
    return True
