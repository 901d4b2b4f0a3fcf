"""Bytes from one place to another: resumable copies, and lines that say how far they are."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

from entrypoint.run.events import Events, say
from schemas.errors import MachineError

INTERVAL_SECONDS = 5.0
"""Between two lines of progress; what ends sooner says nothing."""

GIB = 2**30


class Progress:
    """While the block runs, says every few seconds how many of `total` bytes `measure` finds, and when it will be done.

    What is measured is what lies on the disk, so one way fits copies, both hub clients and work that another process began.
    """

    def __init__(self, what: str, total: int, measure: Callable[[], int], events: Events):
        self.what, self.total, self.measure, self.events = what, total, measure, events
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop.set()
        self.thread.join()

    def _watch(self) -> None:
        first, start = self.measure(), time.monotonic()
        while not self.stop.wait(INTERVAL_SECONDS):
            done = min(self.measure(), self.total)
            rate = max(done - first, 0) / (time.monotonic() - start)
            left = f"{describe_seconds((self.total - done) / rate)} left" if rate else "waiting"
            say(f"fetch: {self.what}: {describe_bytes(done)} of {describe_bytes(self.total)}, {describe_bytes(rate)}/s, {left}")
            self.events.write("progress", what=self.what, bytes=done, total=self.total)


def copy_file(source: Path, target: Path) -> None:
    """Copy one file under a draft name and rename it; a target with the source's size and time of change is left alone.

    Raises MachineError where the source changes meanwhile.
    """
    before = source.stat()
    if target.is_file() and _state(target.stat()) == _state(before):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.draft")
    shutil.copyfile(source, draft)
    if _state(source.stat()) != _state(before) or draft.stat().st_size != before.st_size:
        raise MachineError(f"{source} changed while it was copied", "wait until nothing writes to it and run the same command again")
    os.utime(draft, ns=(before.st_mtime_ns, before.st_mtime_ns))
    draft.replace(target)


def sweep(folder: Path, keep: Iterable[str]) -> None:
    """Remove what an earlier attempt left in `folder`: every file that is not in `keep`, and folders without one."""
    kept = set(keep)
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.relative_to(folder).as_posix() not in kept:
            path.unlink()


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below `folder`, drafts included; files that vanish meanwhile count nothing."""
    total = 0
    for base, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(base) / name).stat().st_size
            except FileNotFoundError:
                continue
    return total


def check_room(folder: Path, needed_bytes: int, what: str) -> None:
    """Raise MachineError where `folder`'s file system has less free than `needed_bytes`."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise MachineError(f"{what} needs {describe_bytes(needed_bytes)} more on the store, {describe_bytes(free)} are free", f"make room for {folder}")


def describe_bytes(count: float) -> str:
    """For people: GiB from one GiB on, MiB below."""
    return f"{count / GIB:.2f} GiB" if count >= GIB else f"{count / 2**20:.1f} MiB"


def describe_seconds(seconds: float) -> str:
    """For people: hours and minutes, or minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _state(found: os.stat_result) -> tuple[int, int]:
    return found.st_size, found.st_mtime_ns
