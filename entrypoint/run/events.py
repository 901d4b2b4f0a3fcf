"""JSON events beside the lines that people read."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO


class Events:
    """Appends one JSON object a line: `at` (seconds since the epoch), `event`, and what the event carries."""

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, event: str, **carried: Any) -> None:
        """Append one event; a single write, so that lines of several processes do not mix."""
        line = json.dumps({"at": round(time.time(), 3), "event": event, **carried}, ensure_ascii=False)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")


def say(line: str) -> None:
    """One line for people, at once. Where nobody reads any more, or a log's disk is full, the work goes on without: it is not the line."""
    try:
        print(line, flush=True)
    except OSError as error:
        discard_output()
        print(f"caisson: standard output cannot be written ({error.strerror}); the work goes on, its events are in the store", file=sys.stderr, flush=True)


def discard_output(stream: TextIO | None = None) -> None:
    """Let what is still to be printed, and what waits in the buffer, go nowhere: the interpreter would fail on it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, (stream or sys.stdout).fileno())
    os.close(nowhere)
