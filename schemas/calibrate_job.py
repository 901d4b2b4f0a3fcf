"""What the leaf of `caisson calibrate` is told."""

from typing import Literal

from schemas.base import Record


class CalibrateJob(Record):
    """Measure this machine."""

    device: Literal["cpu", "cuda"]
    name: str
    """The accelerator's, or `cpu`."""

    ranks: int
    """Processes that add up tensors together."""

    store: str
    """Folder in which the rates are kept, and whose disk is measured."""

    image_lock: str = ""
    as_json: bool = False
