"""What a checkpoint costs: how long one takes to write, how far two must lie apart, how long a stop may take."""

import math
from dataclasses import dataclass

from entrypoint.plan.load import GIB, Load
from entrypoint.plan.tables import DEFAULTS
from schemas.facts import Facts
from schemas.plan import Decision
from schemas.track import CLOSE_SECONDS

COST = 0.01
"""Share of the time that saves may take from the training."""

APART = 1.5
"""A save must have ended well before the next: in bench/saves the second of two that lay too close waited 18 s for the first."""

COMPOSE_GRACE = 300
"""Seconds that Compose gives train where TRAIN_GRACE is not set: compose/stages.yaml."""

STEP_SECONDS = 60
"""Allowance for the step under way: its length is not known before it was run."""

END_SECONDS = 30
"""Allowance for processes to hear of the signal and to end."""


@dataclass(frozen=True)
class Saves:
    """Of a run with checkpoints of this size."""

    gib: float
    """Weights that are trained, in fp32, and what the optimizer keeps of them: docs/decisions/004-checkpoints.md."""

    copy_seconds: float
    """The trainer stands still for the copy to host memory; each process copies its share."""

    write_seconds: float
    speed: float
    """Of the store's disk, GiB a second."""

    measured: bool
    tracked: bool = False
    """Whether a server may keep the end waiting."""

    @property
    def apart(self) -> float:
        """Seconds between two saves that keep the cost under COST and never make one wait for another."""
        return round(max(self.copy_seconds / COST, APART * self.write_seconds), 3)

    @property
    def stop_seconds(self) -> int:
        """The step under way, the save under way, one more save, and the end; in tens."""
        return 10 * math.ceil((STEP_SECONDS + 2 * self.write_seconds + self.end_seconds) / 10)

    @property
    def end_seconds(self) -> int:
        """For processes to hear of the signal and to end, and for trackers that are online."""
        return END_SECONDS + (2 * CLOSE_SECONDS if self.tracked else 0)

    def disk_bytes(self, kept: int) -> int:
        """Of the checkpoints that stay and the one that is written beside them; 0 where their size is not known."""
        return int((kept + 1) * self.gib * GIB)

    @property
    def words(self) -> str:
        """For people."""
        how = "measured" if self.measured else "assumed until it is measured"
        return f"a checkpoint of {self.gib:.2f} GiB takes {self.write_seconds:.1f} s at {self.speed:.2f} GiB/s, {how}"


def saves_of(trained: int, load: Load, facts: Facts, tracked: bool = False, kept: float = 8.0) -> Saves:
    """`trained` is the number of weights that move, 0 where it is not known; `kept` are the optimizer's bytes for each."""
    gib = (4 + kept) * trained / GIB
    speed = facts.disk_write_gib or float(DEFAULTS["disk_write_gib"]["value"])
    copy = gib / load.ranks / float(DEFAULTS["host_copy_gib"]["value"])
    return Saves(gib, copy, gib / speed, speed, facts.disk_write_gib is not None, tracked)


def show_stop(saves: Saves) -> list[Decision]:
    """The estimate, and the line to set where Compose would be too impatient; nothing where the size is not known."""
    if not saves.gib:
        return []
    why = f"{saves.words}; one may be under way, one more is sealed; {STEP_SECONDS} s for the step and {saves.end_seconds} s for the end"
    if saves.stop_seconds > COMPOSE_GRACE:
        why += f". Compose waits {COMPOSE_GRACE} s: put TRAIN_GRACE={saves.stop_seconds}s into .env"
    source = "" if saves.measured else DEFAULTS["disk_write_gib"]["source"]
    return [Decision(field="train stop", value=f"{saves.stop_seconds} s", why=why, source=source)]
