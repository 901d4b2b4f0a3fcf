"""What an artifact says about itself; the only thing that the next stage believes."""

import hashlib
import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.base import Record

FILE_NAME = "manifest.json"


class File(Record):
    """One file of an artifact."""

    path: str
    """Relative to the artifact, with slashes."""

    bytes: int
    sha256: str


Some = Annotated[int, Field(ge=1, lt=2**63)]


class PreparedSplit(BaseModel):
    """What prepare counted of the training rows, as far as a plan reads it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    rows: Some
    tokens: Some
    longest: Some
    """Tokens."""

    sizes: tuple[tuple[Some, Some], ...] = ()
    """Different lengths, and how many rows have each."""


class PreparedValidation(BaseModel):
    """The same of the rows that are kept for validation; there may be none."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    rows: Annotated[int, Field(ge=0, lt=2**63)] = 0


class PreparedSummary(BaseModel):
    """The part of a prepared artifact's summary that a plan reads."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    train: PreparedSplit
    """Of rows that are streamed, the first part of them."""

    validation: PreparedValidation = PreparedValidation()


class Manifest(Record):
    """Written last: a folder without one is unfinished."""

    version: Literal[1] = 1
    stage: str
    name: str
    """Of the run."""

    identity: str
    request: str
    inputs: dict[str, str] = {}
    """Content digest of each upstream artifact, by role."""

    job: dict[str, Any]
    """Everything that was decided for it."""

    image_lock: str = ""
    program: str
    versions: dict[str, str] = {}
    """Of the packages that made it."""

    summary: dict[str, Any] = {}
    """Counts and measurements for the next stage's plan and for people."""

    files: tuple[File, ...]
    """Sorted by path."""

    finished_at: str = ""
    """For people; in no hash."""

    @property
    def content(self) -> str:
        """sha256 over the files: the same bytes give the same digest whenever and wherever they were made."""
        listed = [(f.path, f.bytes, f.sha256) for f in self.files]
        return hashlib.sha256(json.dumps(listed, separators=(",", ":")).encode()).hexdigest()


def check_summary(manifest: Manifest) -> None:
    """Raise ValidationError where a plan could not count with what a manifest says: the artifact is as damaged as one whose manifest cannot
    be read, and its stage makes it again."""
    if manifest.stage == "prepare":
        PreparedSummary.model_validate(manifest.summary)


@dataclass(frozen=True)
class Sealed:
    """A sealed artifact: its folder relative to the store, and its manifest."""

    folder: str
    manifest: Manifest
