"""What the leaf of the stage evaluate is told, and what it and the service that runs the two engines say to each other."""

from typing import Literal

from schemas.base import Record
from schemas.evaluation import Side
from schemas.method import RowKind
from schemas.suite import SuiteJob

ASKED, TOLD = "asked.json", "sides.json"
"""Files of the folder that both share: the first is written by evaluate, the second by sides."""


class EvaluateJob(Record):
    """Both models asked the same questions, one model after the other."""

    stage: Literal["evaluate"] = "evaluate"
    rows: RowKind
    raw: bool = False
    """Continued pre-training: text without questions."""

    limit: int
    """Validation rows that are asked at most."""

    seed: int
    requests: int
    """At once."""

    most_unanswered: float
    """Share of a suite's questions; above it the stage fails."""

    engine: str
    engine_lock: str
    """Digest of the packages of the engine's image: another engine answers otherwise."""

    arguments: tuple[str, ...]
    """Of the engine, the same as the stage serve has."""

    suites: tuple[SuiteJob, ...] = ()
    """Asked behind the validation rows, in this order."""

    gate: dict[str, str] = {}
    """In no identity: it decides no answer."""

    control_folder: str = "/run/caisson"
    """Shared with the service `sides`."""


class SideAsked(Record):
    """Which model evaluate wants served. Written anew every few seconds: evaluate that is not heard of has ended."""

    side: Side | Literal["none"]
    """none: it has what it wanted."""

    export: str
    """Name of the folder that it evaluates; sides serves no other."""

    beat: int
    """Counts up."""


class SideTold(Record):
    """What sides does."""

    state: Literal["waiting", "loading", "ready", "failed", "ended"]
    side: Side | Literal["none"] = "none"
    start: int = 0
    """Counts the starts of engines: another number is another engine, which knows nothing of requests in flight."""

    url: str = ""
    served_name: str = ""
    length: int | None = None
    """Tokens that prompt and answer may have together; None: it did not say."""

    engine: str = ""
    """Name and version."""

    exit_code: int = 0
    """Where it failed: what the stage ends with, and why."""

    what: str = ""
    fix: str = ""
    beat: int = 0
    """Counts up every few seconds."""
