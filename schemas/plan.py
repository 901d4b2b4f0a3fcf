"""What will be done and why: data, no behaviour."""

from typing import Literal

from schemas.base import Record
from schemas.job import Job

Stage = Literal["fetch", "prepare", "answers", "train", "export", "serve", "evaluate", "sides"]
"""answers is the second step of prepare, for rows that a teacher behind an endpoint is asked about; sides serves the two models of evaluate."""


class Decision(Record):
    """One value and its reason."""

    field: str
    """The spec's field, or the name of a quantity."""

    value: str
    why: str
    source: str = ""
    """Where the rule or the number comes from."""

    parts: dict[str, float] = {}
    """Of a sum its terms, in the unit of the value."""

    stage: str = ""
    """That it belongs to, in a plan of several."""


class Setting(Record):
    """One value that an engine is told, and its reason."""

    path: str
    """Keys from the outermost inwards, with dots."""

    value: bool | int | float | str
    why: str


class Step(Record):
    """One process and the artifact that it makes."""

    stage: Stage
    title: str
    argv: tuple[str, ...]
    environment: dict[str, str] = {}
    """Added to the stage's environment; never holds a secret."""

    job: Job
    inputs: dict[str, str] = {}
    """Folder of each upstream artifact, relative to the store, by role."""

    input_contents: dict[str, str] = {}
    """Content digest of each upstream artifact, by role."""

    folder: str
    """Where artifacts of this kind lie, relative to the store."""

    identity: str
    """sha256 of everything that decides the content."""

    request: str
    """sha256 of what the spec asks for, without what this machine decided."""

    work: str = ""
    """sha256 of what attempts have to have in common to go on from each other; empty: the identity."""

    disk_bytes: int = 0
    """Free space that it needs at least, where that is known."""

    stop_seconds: int = 0
    """How long its process is given to end well after a signal; 0 where nobody waits for more than the engine's default."""

    image_lock: str = ""
    """Digest of the image's locked packages."""

    @property
    def id(self) -> str:
        """Name of the artifact's folder."""
        return self.identity[:16]

    @property
    def work_id(self) -> str:
        """Name under which the artifact grows."""
        return (self.work or self.identity)[:16]


class Plan(Record):
    """The steps of one or more stages, and what was decided on the way."""

    version: Literal[1] = 1
    name: str
    steps: tuple[Step, ...] = ()
    decisions: tuple[Decision, ...] = ()
    engine: tuple[Setting, ...] = ()
    """What the training engine is told; empty for plain torch."""

    waiting: tuple[str, ...] = ()
    """Stages that cannot be planned to the end yet, each with what it waits for."""

    remedies: tuple[str, ...] = ()
    """What to do about each of `waiting`; empty where nothing is known."""
