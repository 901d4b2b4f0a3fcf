"""Healthcheck of the stage serve: exits 0 when the engine has passed its gate and works. `python -m entrypoint.run.ready [FOLDER]`.

Standard library only: it runs every few seconds.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

FOLDER = Path("/run/caisson")
STALE_SECONDS = 30
"""The supervisor writes every five; one that has not for so long is not alive."""


def why_not(said: Any, now: float) -> str:
    """Why what health.json says is not ready at this time; empty where it is."""
    if not isinstance(said, dict) or not isinstance(said.get("at"), int | float):
        return "health.json is no document of caisson"
    if said.get("state") != "ready":
        return str(said.get("state"))
    silent = now - said["at"]
    return f"the supervisor has not been heard of for {silent:.0f} s" if silent > STALE_SECONDS else ""


def main(folder: Path) -> int:
    """0 or 1, the reason on standard output."""
    try:
        why = why_not(json.loads((folder / "health.json").read_text(encoding="utf-8")), time.time())
    except (OSError, ValueError) as error:
        why = str(error)
    if why:
        print(f"not ready: {why}")
    return 1 if why else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
