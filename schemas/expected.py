"""What a plan expects of a training's time and memory, and what it may do where it was too careful."""

from schemas.base import Record


class Predicted(Record):
    """What a plan expects of a training; the run says how far off it was."""

    memory_bytes: float | None = None
    """Peak of one process: what torch allocates on a GPU (without context and fragments), all memory of the process on a CPU. None: not estimated."""

    step_seconds: float | None = None
    """Of one optimizer step, without saves and validations: as measured before, or estimated. None: neither."""

    modelled_seconds: float | None = None
    """The same by the time model alone, from which the next plan's correction is worked out. None: not estimated."""


class Raising(Record):
    """More rows at once than planned, once a run has shown that memory has room for them."""

    sizes: tuple[int, ...]
    """Rows at once that part a step evenly, each more than the plan's and faster by its time model."""

    room_bytes: int
    """What they may take: of a GPU what torch may allocate, without context and fragments; of a CPU the memory of the process."""
