"""Which export of a run is served: the document current.json."""

from typing import Literal

from schemas.base import Record

FILE_NAME = "current.json"


class Refused(Record):
    """An export that was made current and did not come to serve."""

    export: str
    at: str
    why: str


class Forced(Record):
    """An export that was promoted although its gate had not passed."""

    export: str
    at: str
    reason: str
    """In the words of whoever did it."""

    refused: str
    """What the gate had said."""


class Current(Record):
    """Replaced in one step, so that whoever reads it sees one choice or the next."""

    export: str
    """Name of the folder below NAME/exports."""

    previous: tuple[str, ...] = ()
    """What was current before, the newest first; each once."""

    at: str
    """When it was made current: ISO 8601, UTC."""

    by: Literal["export", "evaluate", "promote", "rollback", "serve"]
    """evaluate: its gate passed. serve: it put back what served before."""

    refused: tuple[Refused, ...] = ()
    """The newest first."""

    forced: tuple[Forced, ...] = ()
    """The newest first."""
