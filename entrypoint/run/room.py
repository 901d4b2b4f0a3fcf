"""Where a model can be held to answer golden prompts, and how exactly: the device changes no artifact, so no plan names it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from entrypoint.run.tensor_files import count_weights
from schemas.errors import MachineError

SPARE = 1.15
"""What a forward pass over one prompt takes beside the weights, and what loading takes for a moment."""

GIB = 1024**3


@dataclass(frozen=True)
class Room:
    """The most exact way that fits."""

    device: Literal["cuda", "cpu"]
    precision: Literal["fp32", "bf16"]


def find_room(folder: Path) -> Room:
    """For the model of a folder. Raises MachineError where none is."""
    import psutil
    import torch

    weights = count_weights(folder)
    free: dict[Literal["cuda", "cpu"], int] = {"cpu": psutil.virtual_memory().available}
    if torch.cuda.is_available():
        free = {"cuda": torch.cuda.mem_get_info()[0], **free}
    found = choose(weights, free)
    if found is None:
        shown = ", ".join(f"{size / GIB:.1f} GiB of {device}" for device, size in free.items())
        raise MachineError(
            f"export: the model takes {2 * SPARE * weights / GIB:.1f} GiB to answer golden prompts in bf16; free are {shown}",
            "stop what else runs here, or export on a machine with more memory: the same command over the same store goes on there",
        )
    return found


def choose(weights: int, free: dict[Literal["cuda", "cpu"], int]) -> Room | None:
    """fp32 before bf16, and of each the first device; `free` in bytes."""
    ways: tuple[tuple[Literal["fp32", "bf16"], int], ...] = (("fp32", 4), ("bf16", 2))
    return next((Room(device, precision) for precision, size in ways for device, held in free.items() if weights * size * SPARE <= held), None)
