"""Where a model is held to answer."""

import pytest

from entrypoint.run.room import GIB, SPARE, Room, choose

BILLION = 10**9


@pytest.mark.parametrize(
    ("weights", "gpu", "ram", "room"),
    [
        (BILLION, 80, 64, Room("cuda", "fp32")),
        (8 * BILLION, 24, 64, Room("cpu", "fp32")),
        (8 * BILLION, 24, 24, Room("cuda", "bf16")),
        (8 * BILLION, None, 24, Room("cpu", "bf16")),
        (8 * BILLION, None, 16, None),
        (70 * BILLION, 80, 128, None),
    ],
)
def test_the_most_exact_way_that_fits(weights: int, gpu: int | None, ram: int, room: Room | None) -> None:
    """The GPU first, but fp32 in main memory before bf16 on it."""
    free = {"cpu": ram * GIB} if gpu is None else {"cuda": gpu * GIB, "cpu": ram * GIB}
    assert choose(weights, free) == room  # type: ignore[arg-type]


def test_the_border() -> None:
    needed = int(4 * BILLION * SPARE) + 1
    assert choose(BILLION, {"cpu": needed}) == Room("cpu", "fp32")
    assert choose(BILLION, {"cpu": needed - 100}) == Room("cpu", "bf16")
