"""What serve tells the gateway and what the gateway answers: files in /run/caisson, which only those two mount."""

from typing import Literal

from schemas.base import Record

FOLDER = "/run/caisson"
ACTIVE = "active.json"
"""Written by serve, by rename: `Active`."""

ACKNOWLEDGED = "gateway.json"
"""Written by the gateway once requests go where `active.json` says: `Acknowledged`."""

CONTROL = "control"
"""The key that serve's engines accept; the gateway puts it in place of a user's."""

HEALTH = "health.json"
"""Serve's sign of life: `at`, seconds since the epoch, and more for people."""


class Active(Record):
    """Which engine answers, if any."""

    generation: int
    state: Literal["ready", "loading", "failed"]
    upstream: str | None
    """HOST:PORT on the network `inside`; None while nothing answers."""

    models: tuple[str, ...] = ()
    """Names that requests may use."""

    retry_after: int = 30
    """Seconds."""


class Acknowledged(Record):
    """The generation that requests go to."""

    generation: int
