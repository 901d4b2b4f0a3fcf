"""JSON events beside the lines that people read."""

import json
import time
from pathlib import Path
from typing import Any


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
    """One line for people, at once."""
    print(line, flush=True)
