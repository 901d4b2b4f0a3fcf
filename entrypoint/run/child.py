"""One child process in the foreground, or another program in the place of this one."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


def run_process(argv: tuple[str, ...], environment: dict[str, str], *inherited: int) -> tuple[int, bool]:
    """Its exit code, and whether a signal told this process to stop: it goes on to the child, the third as SIGKILL."""
    stopped: list[int] = []
    children: list[subprocess.Popen[bytes]] = []

    def forward(number: int, _: FrameType | None) -> None:
        stopped.append(number)
        for child in children:
            child.send_signal(signal.SIGTERM if len(stopped) < 3 else signal.SIGKILL)

    # Handlers first: a signal while the child is being started must not end this process alone.
    with _waker() as woken, _handlers({signal.SIGTERM: forward, signal.SIGINT: forward, signal.SIGCHLD: lambda *_: None}):
        sys.stdout.flush()
        children.append(
            subprocess.Popen((sys.executable, *argv[1:]), env={**os.environ, **environment}, pass_fds=inherited, preexec_fn=_leave_interrupts_to_the_executor)
        )
        if stopped:
            children[0].send_signal(signal.SIGTERM)
        while children[0].poll() is None:
            os.read(woken, 512)
        return children[0].returncode, bool(stopped)


@contextmanager
def _waker() -> Iterator[int]:
    """A pipe that holds a byte for every signal with a handler, from the moment it came. Python runs handlers between its own steps: a signal
    just before waitpid would be heard only when the child has ended, and a stop that came then was lost until the kill that follows it."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)


@contextmanager
def _handlers(new: dict[signal.Signals, Callable[[int, FrameType | None], None]]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in new.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave_interrupts_to_the_executor() -> None:
    """Ctrl-C reaches every process of a terminal. The executor hears it and passes it on as SIGTERM, once, and a leaf that is still importing
    its libraries does not print where it was. A program that ignores a signal when it starts lets Python leave it so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def describe_exit(code: int) -> str:
    """For people."""
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def replace_process(module: str, *arguments: str) -> NoReturn:
    """Become `python -m module arguments`: signals then reach it directly."""
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-m", module, *arguments], dict(os.environ))
