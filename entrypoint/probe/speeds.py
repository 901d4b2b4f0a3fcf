"""Sizes and speeds as drivers say them, in the units of the facts."""

from schemas.accelerator import SLOWEST, pcie_gib

GIB = 1024**3

PCIE_RATES = {"2.5": 1, "5.0": 2, "5": 2, "8.0": 3, "8": 3, "16.0": 4, "16": 4, "32.0": 5, "32": 5, "64.0": 6, "64": 6}
"""Generation by the GT/s that Linux lists."""


def gib(size: int) -> float:
    """GiB of bytes."""
    return round(size / GIB, 2)


def speed(bytes_per_second: float) -> float | None:
    """GiB a second; None for what is no speed, such as the 0 of a driver that does not know."""
    found = round(bytes_per_second / GIB, 1)
    return found if SLOWEST <= found < 1e6 else None


def slot_speed(generation: int | None, lanes: int | None) -> float | None:
    """GiB a second one way of a PCIe slot; None where one of the two is not known."""
    found = pcie_gib(generation or 0, lanes or 0)
    return round(found, 1) if found else None
