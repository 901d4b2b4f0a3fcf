"""One start of a column's command, as a process that was told nothing, and what became of it."""

import itertools
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from columns import ROOT, Column, empty
from injector import KILLED, Call, Injector
from judge import Left, outcome, read_left
from warm import NEW, Forked

TIMEOUT, TICK = 240, 0.01
ERROR = re.compile(r"(\[rank\d+\]: )?([\w.]+(Error|Exception|Refused)|caisson|error)\b.*: ")


@dataclass(frozen=True)
class Attempt:
    """How one start ended."""

    code: int | str
    seconds: float
    begun_at: int | None
    """The step it went on from; None where it took no step."""
    reached: int | None
    traceback: bool
    error: str
    """The last line that names one."""
    said: str

    def row(self) -> dict[str, Any]:
        """For the result; words only where it did not end well."""
        return asdict(replace(self, **({"error": "", "said": ""} if self.code in (0, KILLED) else {})))


class Bench:
    """A column in one shape, with the place that every trial uses in turn."""

    def __init__(self, column: Column, injector: Injector, place: Path):
        self.column, self.injector, self.place = column, injector, place
        self.sound: dict[tuple[int, ...], Left | None] = {}
        self.calls: list[Call] = []
        """Of the undisturbed run."""
        self.times: list[float] = []
        """When it began, took each step, and ended."""

    def moved(self, place: Path) -> "Bench":
        """The same, on another disk."""
        found = Bench(self.column, self.injector, place)
        found.sound, found.calls, found.times = self.sound, self.calls, self.times
        return found

    def start(self, watch: Callable[[subprocess.Popen, int], None] | None = None, injected: bool = True) -> Attempt:
        """Run the command to its end; `watch` is given the process and the number of events that were there before it. Without the injector
        it is a new interpreter, as a user starts it."""
        said, before = self.column.work / "said.txt", len(self.steps())
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = self.column.argv(self.place)
        command = self.injector.before(command) if injected else command
        began = time.monotonic()
        with said.open("wb") as stream:
            process = (Forked if injected else NEW)(command, cwd=self.place, env=environment, stdout=stream, stderr=subprocess.STDOUT)
            if watch:
                watch(process, before)
            code: int | str = "hangs"
            for _ in range(int(TIMEOUT / TICK)):  # counted, not timed: a container may be paused
                if process.poll() is not None:
                    code = KILLED if process.returncode == -signal.SIGKILL else process.returncode
                    break
                time.sleep(TICK)
        end_everything(process)
        text = said.read_text(encoding="utf-8", errors="replace")
        steps = self.steps()[before:]
        return Attempt(
            code,
            round(time.monotonic() - began, 1),
            steps[0] - 1 if steps else None,
            steps[-1] if steps else None,
            "Traceback (most recent" in text,
            error_of(text),
            text[-600:],
        )

    def steps(self) -> list[int]:
        """Every optimizer step of every attempt, in order. A line that a kill cut short does not count."""
        path, found = self.column.events(self.place), []
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if entry.get("event") == "step":
                found.append(entry["step"])
        return found

    def left(self) -> Left | None:
        """What the run left, once it has ended."""
        return read_left(self.column.artifact(self.place))

    def stop_after(self, step: int) -> Attempt:
        """Kill the run between the save of `step` and what it writes next: a checkpoint, or the final weights."""
        column, following = self.column, step + self.column.shape.every
        self.injector.arm(column.final if following > column.shape.steps else f"{column.mark}{following}", kind="any", at=1, action="before")
        return self.start()

    def after(self, chain: tuple[int, ...]) -> Left | None:
        """What a run leaves that was stopped between two saves after each of these steps, and went on each time. Made when first asked for."""
        if chain not in self.sound:
            kept = self.place.rename(self.place.with_name("kept"))
            self.column.fresh(self.place)
            for step in chain:
                self.stop_after(step)
            self.injector.disarm()
            self.sound[chain] = self.left() if self.start().code == 0 else None
            empty(self.place)
            self.place.rmdir()
            kept.rename(self.place)
        return self.sound[chain]

    def judge(self, attempts: list[Attempt], judged: Attempt) -> dict[str, Any]:
        """Outcome of a trial: exit code, bits, and how many steps were taken twice."""
        left, undisturbed = self.left(), self.sound[()]
        assert undisturbed is not None
        begun = [a.begun_at for a in attempts[1:] if a.begun_at]
        chain = tuple(b for i, b in enumerate(begun) if b not in begun[:i])
        found = outcome(judged.code, left, undisturbed, lambda: self.after(chain))
        reached, repeated = 0, 0
        for attempt in attempts:
            if attempt.begun_at is not None and attempt.reached is not None:
                repeated = max(repeated, reached - attempt.begun_at)
                reached = attempt.reached
        same = {"tensors": left.tensors == undisturbed.tensors, "stream": left.stream == undisturbed.stream} if left else None
        differ = first_difference(undisturbed.stream, left.stream) if left else []
        return {"outcome": found, "identical": same, "differ": differ, "repeated": repeated, "attempts": [a.row() for a in attempts]}


def first_difference(one: tuple, other: tuple) -> list:
    """Number of the first entry of a loss stream that is not the same, and both; nothing where all are."""
    for i, pair in enumerate(itertools.zip_longest(one, other)):
        if pair[0] != pair[1]:
            return [i, *pair]
    return []


def error_of(text: str) -> str:
    """What a program said was wrong: the last exception that is not the launcher's, and the last line in Caisson's own words."""
    lines = [line for line in text.splitlines() if ERROR.match(line) and "ChildFailedError" not in line]
    found = [[line for line in lines if line.startswith("caisson:") is own][-1:] for own in (False, True)]
    return " | ".join(line[:300] for last in found for line in last)


def end_everything(process: subprocess.Popen) -> None:
    """SIGKILL for every process of this container but the first, which is this one; returns when they are gone."""
    assert os.getpid() == 1, "only as the first process of a container"
    while others := [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and p.name != "1"]:
        for other in others:
            try:
                os.kill(other, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if process.poll() is not None:  # its exit code first: whoever reaps it gets that
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                pass
        time.sleep(0.002)
