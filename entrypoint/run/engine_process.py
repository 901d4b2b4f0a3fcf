"""One engine: a process group of its own that hears what it must do on its standard input."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from schemas.serve_job import EngineTask

CPU_TICKS = os.sysconf("SC_CLK_TCK")


class EngineProcess:
    """Started when it is made; its output goes where this process's goes."""

    def __init__(self, engine: str, task: EngineTask, environment: Mapping[str, str]):
        sys.stdout.flush()
        argv = (sys.executable, "-m", f"entrypoint.run.serve_{engine}", str(task.port))
        # A group of its own: what it has started ends with it, and Ctrl-C of a terminal reaches the supervisor alone.
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, env={**os.environ, **environment}, process_group=0)
        self.id = self._process.pid
        assert self._process.stdin
        with suppress(BrokenPipeError):  # it has ended already: `code` says how
            self._process.stdin.write(task.model_dump_json().encode() + b"\n")
            self._process.stdin.flush()

    def code(self) -> int | None:
        """Its exit code, negative for a signal, once it has ended; what it has started is ended then, too."""
        if self._process.returncode is None and os.waitid(os.P_PID, self.id, os.WEXITED | os.WNOWAIT | os.WNOHANG):
            self._end_group()  # before its number may be another's
            self._close()
        return self._process.returncode

    def drain(self) -> None:
        """Ask it to finish what it has taken on, and to take on no more. Not its workers: they do what it waits for."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End all of it now, also where it was stopped by a signal or hangs."""
        if self._process.returncode is None:
            self._end_group()
            self._close()

    def cpu_seconds(self) -> float:
        """CPU time of the whole group so far; that of processes that have ended is lost."""
        used = 0
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                used += self._ticks(entry)
        return used / CPU_TICKS

    def _ticks(self, entry: Path) -> int:
        """utime + stime of a process of the group; proc(5): what follows the name in brackets starts with field 3, the state."""
        try:
            fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            return 0
        return int(fields[11]) + int(fields[12]) if int(fields[2]) == self.id else 0

    def _end_group(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.id, signal.SIGKILL)

    def _close(self) -> None:
        self._process.wait()
        if self._process.stdin:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
