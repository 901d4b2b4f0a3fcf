"""What this process was told through its environment; the only reader of it beside what hands it on to children."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from schemas.accelerator import Platform
from schemas.errors import MachineError

VISIBLE: dict[Platform, tuple[str, ...]] = {
    "cuda": ("CUDA_VISIBLE_DEVICES",),
    "rocm": ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"),
    "npu": ("ASCEND_RT_VISIBLE_DEVICES",),
    "mps": (),
}
"""Variables by which a vendor's runtime hides devices, in the order in which they apply."""


def said_device() -> Literal["cpu", "cuda"] | None:
    """What this image was built for, or what the user wants to plan for outside one; None where nothing is said."""
    said = os.environ.get("CAISSON_ACCELERATOR")
    if said in ("cpu", "cuda"):
        return said  # type: ignore[return-value]
    if said:
        raise MachineError(f"CAISSON_ACCELERATOR is {said!r}", "it must be cpu or cuda")
    return None


def node_rank() -> int:
    """Which of several nodes that serve one model this is, from NODE_RANK."""
    said = os.environ.get("NODE_RANK") or "0"
    if not (said.isascii() and said.isdigit()):
        raise MachineError(f"NODE_RANK is {said!r}", "it must be 0 on the first node, 1 on the second, and so on")
    return int(said)


def seen(platform: Platform, ids: Sequence[str]) -> list[int]:
    """Places of the devices with these ids that a process sees."""
    places = list(range(len(ids)))
    for variable in VISIBLE[platform]:
        places = [places[at] for at in visible([ids[place] for place in places], os.environ.get(variable))]
    return places


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


def in_container() -> bool:
    """Whether this process runs inside one of the images."""
    return image() is not None


def image() -> str | None:
    """Name of the image that this process runs in; None outside of them."""
    return os.environ.get("CAISSON_IMAGE")


def key_file() -> Path | None:
    """The gateway's file of API keys, where one is in sight: what is mounted in its container, what Compose would mount on a host. None for one
    that is there and that only the gateway's user may read."""
    path = Path("/run/secrets/gateway" if in_container() else os.environ.get("GATEWAY_SECRETS") or "secrets/gateway") / "keys"
    try:
        return path if path.exists() and (in_container() or os.access(path, os.R_OK)) else None
    except OSError:
        return None


def door() -> tuple[str, str]:
    """Address and port at which Compose publishes the gateway, from BIND and PORT."""
    return os.environ.get("BIND") or "127.0.0.1", os.environ.get("PORT") or "8000"


def project() -> str:
    """Name of the Compose project, from PROJECT."""
    return os.environ.get("PROJECT") or "caisson"
