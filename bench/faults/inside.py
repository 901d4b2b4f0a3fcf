"""The trials, as the first process of a container: when it sends SIGKILL to all others, nothing of a run is left, as when a machine dies.

    inside.py REQUEST       a JSON file: column, parts with which trials ("all", "each" kind, a number, a pattern), done (ids of rows
                            that exist)

Rows go to standard output, one JSON object a line; progress goes to standard error.
"""

import collections
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attempt import Attempt, Bench, end_everything
from columns import COLUMNS, SHAPES, Column, empty, step_of
from control import replace_random_state, seal_again
from injector import Call, Injector
from judge import Left
from trials import Fault, damage, damages_of, end_window, faults_of, moments, one_of_each, save_window, spread
from warm import import_all

WORK, FILLED = Path("/work"), Path("/full")
KILLS, TARGET = 110, 9
"""How often runs of two processes are killed, all together: some kills come too late, a hundred hit. The save that is disturbed: the third, the
first after which an old checkpoint is removed."""
ROOM = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.25)
"""Room that is left when the disk fills up, in checkpoints."""

Trial = tuple[str, Callable[[], dict[str, Any]]]


class Parts:
    """All parts of one column."""

    def __init__(self, name: str, counts: dict[str, str], done: set[str]):
        self.name, self.counts, self.done = name, counts, done
        self.injector = Injector(WORK / "injector")
        self.tally: collections.Counter[str] = collections.Counter()
        self.ready: dict[tuple[Any, ...], Bench] = {}

    def bench(self, shape: str, place: Path = WORK / "trial", scope: str = "scope", repaired: bool = True) -> Bench:
        """A column ready to run: sources made, the undisturbed run known and the same twice: by new interpreters, and forked under the injector."""
        asked = (shape, place, scope, repaired)
        if asked not in self.ready:
            elsewhere = [bench for known, bench in self.ready.items() if (known[0], *known[2:]) == (shape, scope, repaired)]
            self.ready[asked] = elsewhere[0].moved(place) if elsewhere else self.made(*asked)
        column = self.ready[asked].column
        if not repaired or (shape, place, scope, False) in self.ready:  # of one name, with other settings
            column.prepare()
        return self.ready[asked]

    def made(self, shape: str, place: Path, scope: str, repaired: bool) -> Bench:
        """Ready for the first time."""
        column: Column = COLUMNS[self.name](SHAPES[shape], WORK, repaired)
        column.prepare()
        bench = Bench(column, self.injector, place)
        lefts: list[Left | None] = []
        for injected in (False, True):
            column.fresh(place)
            self.injector.arm(getattr(column, scope))
            began = time.time()
            attempt = bench.start(injected=injected)
            assert attempt.code == 0, attempt.said
            bench.times = [0.0, *(at - began for at in _step_times(column.events(place))), attempt.seconds]
            lefts.append(bench.left())
        assert lefts[0] is not None and lefts[0] == lefts[1], "two undisturbed runs differ"
        bench.sound[()] = lefts[0]
        bench.calls = self.injector.calls()
        say(f"{self.name}, {shape}: undisturbed {attempt.seconds} s, {len(lefts[0].stream)} numbers, {len(bench.calls)} calls, {lefts[0].digest}")
        return bench

    def run(self, part: str, trials: list[Trial]) -> None:
        """Each trial that has no row yet."""
        began, ran = time.monotonic(), 0
        for i, (name, trial) in enumerate(trials):
            row_id = f"{self.name}/{part}/{name}"
            if row_id in self.done:
                continue
            row = {"id": row_id, "column": self.name, "part": part, **trial()}
            print(json.dumps(row, ensure_ascii=False), flush=True)
            self.tally[row["outcome"]] += 1
            ran += 1
            left = (time.monotonic() - began) / ran * (len(trials) - i - 1) / 60
            say(f"{part} {i + 1}/{len(trials)}  {name}: {row['outcome']}, {row['repeated']} repeated  {dict(self.tally)}  {left:.0f} min left")

    def part(self, name: str) -> None:
        """One part by its name."""
        count = self.counts[name]
        if count == "0":
            return
        trials: list[Trial] = getattr(self, name)()
        if count == "each":
            chosen = one_of_each(name, [trial for trial, _ in trials])
            trials = [trial for trial in trials if trial[0] in chosen]
        elif count.isdigit() and name != "kills":
            trials = spread(trials, int(count))
        elif count != "all" and name != "kills":
            trials = [trial for trial in trials if re.search(count, trial[0])]
        self.run(name, trials)

    def faults(self) -> list[Trial]:
        """Every fault at every call of one save. A power cut takes what that save did not flush; older ones count as long since on the disk."""
        bench = self.bench("single")
        return self.faults_at(bench, save_window(bench.calls, TARGET, bench.column.shape.every), bench.column.scope, f"-{TARGET}")

    def end(self) -> list[Trial]:
        """Every fault at every call that makes the final artifact."""
        bench = self.bench("single", scope="folder_scope")
        return self.faults_at(bench, end_window(bench.calls, bench.column.final), bench.column.folder_scope, "*")

    def faults_at(self, bench: Bench, window: list[Call], scope: str, lost: str) -> list[Trial]:
        """One trial a fault."""

        def trial(fault: Fault) -> dict[str, Any]:
            bench.column.fresh(bench.place)
            self.injector.arm(scope, **fault.settings(str(bench.place), lost))
            first = bench.start()
            hit = [_short(c.path) for c in self.injector.calls() if c.fault]
            return {"call": fault.call.kind, "how": fault.how, "path": _short(fault.call.path), "hit": hit} | self.again(bench, first)

        kinds = collections.Counter(call.kind for call in window)
        say(f"calls: {dict(kinds)}")
        row = {"id": f"{self.name}/calls/{scope}", "calls": [[c.kind, c.k, c.bytes, _short(c.path), _short(c.to)] for c in window]}
        print(json.dumps(row), flush=True)
        return [(fault.name, lambda fault=fault: trial(fault)) for fault in faults_of(window)]

    def again(self, bench: Bench, *before: Attempt) -> dict[str, Any]:
        """The same command once more, with nothing in its way; a run that has ended well is not disturbed."""
        attempts = list(before)
        if attempts[-1].code != 0:
            self.injector.disarm()
            attempts.append(bench.start())
        return bench.judge(attempts, attempts[-1])

    def full(self) -> list[Trial]:
        """A real small disk that fills up during the run; someone makes room, and the same command again."""
        bench = self.bench("single", FILLED / "trial")
        self.stopped(bench)
        size = sum(p.stat().st_size for p in bench.column.checkpoints(bench.place)[0].rglob("*") if p.is_file())

        def fill(process: subprocess.Popen, share: float) -> None:
            while process.poll() is None:
                newest = bench.column.checkpoints(bench.place)
                if newest and step_of(newest[0]) >= TARGET - bench.column.shape.every:
                    break
                time.sleep(0.001)
            with (FILLED / "filler").open("wb") as stream:
                while (room := _free(FILLED) - int(share * size)) > 0:
                    with contextlib.suppress(OSError):  # the run writes meanwhile: there may be less than a moment ago
                        os.posix_fallocate(stream.fileno(), 0, room)
                        break

        def trial(share: float) -> dict[str, Any]:
            bench.column.fresh(bench.place)
            self.injector.arm(bench.column.scope)
            first = bench.start(lambda process, _: fill(process, share))
            (FILLED / "filler").unlink()
            return {"room": share} | self.again(bench, first)

        return [(f"room for {share} checkpoints", lambda share=share: trial(share)) for share in ROOM]

    def stopped(self, bench: Bench) -> Attempt:
        """A run that stopped between the save of TARGET and the next."""
        bench.column.fresh(bench.place)
        return bench.stop_after(TARGET)

    def damage(self) -> list[Trial]:
        """A run that was stopped between two saves, and then a file of its newest checkpoint damaged."""
        bench = self.bench("single")
        first = self.stopped(bench)
        kept = WORK / "stopped"
        empty(kept)
        shutil.copytree(bench.place, kept, dirs_exist_ok=True)
        events = bench.column.events(bench.place).read_bytes()
        newest = bench.column.checkpoints(bench.place)[0]
        assert step_of(newest) == TARGET, newest
        inside = newest.relative_to(bench.place)

        def trial(file: str, how: str) -> dict[str, Any]:
            empty(bench.place)
            shutil.copytree(kept, bench.place, dirs_exist_ok=True)
            bench.column.events(bench.place).write_bytes(events)
            if file:
                damage(bench.place / inside / file, how)
            self.injector.disarm()
            again = bench.start()
            passed_over = again.begun_at is not None and again.begun_at < TARGET
            return {"file": file, "how": how, "passed_over": passed_over} | bench.judge([first, again], again)

        sound: Trial = ("nothing damaged", lambda: trial("", ""))
        return [sound, *((f"{file}: {how}", lambda file=file, how=how: trial(file, how)) for file, how in damages_of(bench.place / inside))]

    def kills(self) -> list[Trial]:
        """Two processes, killed with everything around them at a random moment, and the same command until it is done."""
        bench = self.bench("pair")

        steps = bench.column.shape.steps

        def kill(process: subprocess.Popen, before: int, moment: float) -> None:
            step = int(moment)
            while step and process.poll() is None and max(bench.steps()[before:], default=0) < step:
                time.sleep(0.002)
            time.sleep((moment - step) * (bench.times[step + 1] - bench.times[step]))
            if process.poll() is None:
                end_everything(process)

        def trial(when: tuple[float, ...]) -> dict[str, Any]:
            bench.column.fresh(bench.place)
            attempts = []
            for moment in when:
                self.injector.disarm()
                attempts.append(bench.start(lambda process, before, moment=moment: kill(process, before, moment)))
            return {"moments": when} | self.again(bench, *attempts)

        count = self.counts["kills"]
        given = moments(KILLS if count == "all" else int(count), steps)
        return [(f"run {i:02d}, {len(when)} kills", lambda when=when: trial(when)) for i, when in enumerate(given)]

    def control(self) -> list[Trial]:
        """Random state replaced behind the manifest's back: the comparison must see it. Sealed again unchanged: it must see nothing."""

        def trial(shape: str, replaced: bool, repaired: bool = True) -> dict[str, Any]:
            bench = self.bench(shape, repaired=repaired)
            first = self.stopped(bench)
            newest, older = bench.column.checkpoints(bench.place)[:2]
            changed = replace_random_state(newest, older) if replaced else []
            seal_again(newest)
            self.injector.disarm()
            again = bench.start()
            return {"changed": changed} | bench.judge([first, again], again)

        found: list[Trial] = []
        for shape in SHAPES:
            found.append((f"{shape}: sealed again unchanged", lambda shape=shape: trial(shape, False)))
            found.append((f"{shape}: random state replaced", lambda shape=shape: trial(shape, True)))
        if self.name == "transformers":
            found.append(("pair: stopped between two saves, not repaired", lambda: trial("pair", False, repaired=False)))
        return found


def _step_times(events: Path) -> list[float]:
    """When each step of a run ended."""
    return [entry["at"] for line in events.read_text(encoding="utf-8").splitlines() if (entry := json.loads(line)).get("event") == "step"]


def _free(folder: Path) -> int:
    """Bytes that can still be written."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def _short(path: str) -> str:
    """A path without what differs between stores."""
    return path.partition("/trial/")[2] or path


def say(line: str) -> None:
    """Progress."""
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Every part that was asked for."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(1))  # the first process of a container has no default handler
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    import_all(request["column"])
    column = Parts(request["column"], request["parts"], set(request["done"]))
    for part in request["parts"]:
        column.part(part)


if __name__ == "__main__":
    main()
