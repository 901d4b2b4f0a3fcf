"""Units, and numbers that are none."""

import pytest

from entrypoint.probe.speeds import PCIE_RATES, gib, slot_speed, speed


def test_sizes() -> None:
    assert gib(2**30) == 1.0
    assert gib(85520809984) == 79.65


@pytest.mark.parametrize(("given", "found"), [(3352.3e9, 3122.1), (0, None), (-1e9, None), (1, None), (1e30, None)])
def test_speed(given: float, found: float | None) -> None:
    assert speed(given) == found


@pytest.mark.parametrize(
    ("generation", "lanes", "found"),
    [(5, 16, 58.7), (4, 8, 14.7), (3, 16, 14.7), (None, 16, None), (4, None, None), (4, 0, None), (9, 16, None), (4, 4096, None)],
)
def test_slot(generation: int | None, lanes: int | None, found: float | None) -> None:
    assert slot_speed(generation, lanes) == found


def test_every_rate_has_its_speed() -> None:
    assert all(slot_speed(generation, 16) for generation in PCIE_RATES.values())
