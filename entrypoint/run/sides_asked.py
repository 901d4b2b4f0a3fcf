"""Evaluate's end of what it and the service sides say to each other, through a folder in memory that both mount."""

import threading
import time
from pathlib import Path

from pydantic import ValidationError

from entrypoint.run.control import KEY, put
from schemas.errors import CaissonError, GateRefused, MachineError, StepFailed, UsageError
from schemas.evaluate_job import ASKED, TOLD, SideAsked, SideTold
from schemas.evaluation import Side

POLL_SECONDS, BEAT_SECONDS = 0.5, 3.0
SILENT_SECONDS = 60.0
"""Without a word of sides, after which it counts as gone; it speaks every three."""

END_SECONDS = 15.0
"""For sides to end its engine: an evaluation that starts at once then finds it gone, and starts another."""

ERRORS: dict[int, type[CaissonError]] = {2: UsageError, 3: MachineError, 4: GateRefused}


def read_told(folder: Path) -> SideTold | None:
    """None where sides has said nothing yet."""
    try:
        return SideTold.model_validate_json((folder / TOLD).read_bytes())
    except (OSError, ValidationError):
        return None


def dismiss(folder: Path) -> None:
    """Let sides end, where there is one; waits while it ends an engine."""
    if not folder.is_dir():
        return
    before = read_asked_beat(folder)
    try:
        put(folder, ASKED, SideAsked(side="none", export="", beat=before + 1).model_dump_json())
    except OSError:  # nobody's folder, or one of another user
        return
    end = time.monotonic() + END_SECONDS
    while (told := read_told(folder)) and told.state in ("loading", "ready") and time.monotonic() < end:
        time.sleep(POLL_SECONDS)


def read_asked_beat(folder: Path) -> int:
    """The number of the last beat; 0 where there was none."""
    try:
        return SideAsked.model_validate_json((folder / ASKED).read_bytes()).beat
    except (OSError, ValidationError):
        return 0


class Asking:
    """Of one evaluation. `want` waits for a side; until `close` sides is told that somebody is here. Raises MachineError where there is no folder."""

    def __init__(self, folder: Path, export: str, silent_seconds: float = SILENT_SECONDS):
        self.folder, self.export, self.silent_seconds = folder, export, silent_seconds
        self._side: Side | None = None
        self._beat = read_asked_beat(folder)
        self._heard, self._last = time.monotonic(), -1
        self._closed = threading.Event()
        if not folder.is_dir():
            raise MachineError(
                f"evaluate: nobody serves the two models: {folder} is not there",
                "`docker compose run --rm evaluate` starts the service sides beside it, which does",
            )

    def key(self) -> str:
        """That opens the engines."""
        return (self.folder / KEY).read_text(encoding="utf-8")

    def want(self, side: Side) -> SideTold:
        """Wait until this side is served. Raises what sides failed with, and StepFailed where it is gone."""
        first = self._side is None
        self._side = side
        self._write()
        if first:
            threading.Thread(target=self._go_on, daemon=True).start()
        self._heard = time.monotonic()
        while True:
            told = self._told()
            if told and told.state == "ready" and told.side == side:
                return told
            time.sleep(POLL_SECONDS)

    def is_still(self, served: SideTold) -> bool:
        """Whether it is the same engine. Raises as `want`."""
        told = self._told()
        return told is not None and (told.state, told.side, told.start) == ("ready", served.side, served.start)

    def close(self) -> None:
        """Say no more; `dismiss` ends sides."""
        self._closed.set()

    def _told(self) -> SideTold | None:
        told = read_told(self.folder)
        if told and told.state == "failed":
            raise ERRORS.get(told.exit_code, StepFailed)(told.what, told.fix or None)
        if told and told.beat != self._last and told.state != "ended":
            self._heard, self._last = time.monotonic(), told.beat
        if time.monotonic() - self._heard > self.silent_seconds:
            raise StepFailed(
                f"evaluate: the service sides has not been heard of for {self.silent_seconds:.0f} s",
                "`docker compose logs sides` says why; the same command starts it again and goes on",
            )
        return told

    def _write(self) -> None:
        assert self._side
        self._beat += 1
        put(self.folder, ASKED, SideAsked(side=self._side, export=self.export, beat=self._beat).model_dump_json())

    def _go_on(self) -> None:
        while not self._closed.wait(BEAT_SECONDS):
            self._write()
