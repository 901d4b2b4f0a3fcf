"""nginx as a child: its configuration is tried before it is used, and a reload is over when no old worker takes a request any more."""

import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from schemas.errors import MachineError

PROGRAM = "/usr/sbin/nginx"
CONFIG = "nginx.conf"
QUERY = re.compile(r'(request: "[A-Z]+ [^ ?"]*)\?[^ "]*')
"""In nginx's own error lines; what a client puts there is none of the log's business."""

SETTLE_SECONDS = 10


class Nginx:
    """One master with its workers; its files are in `folder`."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.process: subprocess.Popen[str] | None = None

    def use(self, files: dict[str, str]) -> None:
        """Start with this configuration, or go over to it while requests that run go on. Raises MachineError, and changes nothing, where
        nginx refuses it."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        for name, content in files.items():
            self._write(name if name != CONFIG else f"{CONFIG}.new", content)
        tried = subprocess.run([*self._command(f"{CONFIG}.new"), "-t", "-q"], capture_output=True, text=True, check=False)
        if tried.returncode:
            raise MachineError(f"nginx refuses its configuration: {tried.stderr.strip()}", "this is an error of the gateway's own: please report it")
        (self.folder / f"{CONFIG}.new").rename(self.folder / CONFIG)
        if self.process is None:
            self.process = subprocess.Popen(self._command(CONFIG), stderr=subprocess.PIPE, text=True, errors="replace")
            threading.Thread(target=self._pass_on_errors, daemon=True).start()
            self._settle(set())
        else:
            before = self._workers()
            self.process.send_signal(signal.SIGHUP)
            self._settle(before)
        for path in self.folder.glob("tls-*"):
            if path.name not in files:
                path.unlink()

    def tell(self, told: dict[str, str], keys: dict[str, str]) -> None:
        """What requests find from now on; no connection notices."""
        folder = self.folder / "keys"
        folder.mkdir(mode=0o700, exist_ok=True, parents=True)
        for name, content in keys.items():
            self._write(f"keys/{name}", content)
        for path in folder.iterdir():
            if path.name not in keys:
                path.unlink()
        for name, content in told.items():
            self._write(name, content)

    def ended(self) -> int | None:
        """The exit code of a master that has ended."""
        return self.process.poll() if self.process else None

    def quit(self) -> None:
        """Take no new request, finish those that run, end."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()

    def _command(self, config: str) -> list[str]:
        return [PROGRAM, "-e", "stderr", "-p", str(self.folder), "-c", str(self.folder / config)]

    def _write(self, name: str, content: str) -> None:
        """By rename: a reader sees the old content or the new."""
        draft = self.folder / ".draft"
        draft.touch(mode=0o600)
        draft.write_text(content, encoding="utf-8")
        draft.rename(self.folder / name)

    def _workers(self) -> set[int]:
        """Processes that take requests; one that is shutting down says so in its title."""
        assert self.process
        found = set()
        for task in Path("/proc").glob("[0-9]*"):
            try:
                title = (task / "cmdline").read_bytes()
                parent = int((task / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError):  # it has ended meanwhile
                continue
            if parent == self.process.pid and title.rstrip(b"\0 ") == b"nginx: worker process":
                found.add(int(task.name))
        return found

    def _settle(self, old: set[int]) -> None:
        """Wait until workers of the new configuration take requests and old ones do not."""
        assert self.process
        end = time.monotonic() + SETTLE_SECONDS
        while self.process.poll() is None and time.monotonic() < end:
            now = self._workers()
            if now - old and not now & old:
                return
            time.sleep(0.02)

    def _pass_on_errors(self) -> None:
        assert self.process and self.process.stderr
        for line in self.process.stderr:
            print(QUERY.sub(r"\1", line), end="", file=sys.stderr, flush=True)
