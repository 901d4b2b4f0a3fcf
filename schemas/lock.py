"""plan.lock.json: a plan that somebody has read and holds to."""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Record
from schemas.errors import UsageError, shown
from schemas.plan import Stage

LOCK_FILE = "plan.lock.json"
"""Its name beside the spec."""

VERSION: Literal[1] = 1


class LockedMachine(Record):
    """What a plan was made for, as far as it decides bits and speed."""

    device: str
    accelerators: tuple[str, ...] = ()
    """One entry a kind: how many, name, memory, compute capability."""


class LockedStep(Record):
    """One step as it was planned."""

    stage: Stage
    part: str = ""
    """Tells the steps of a stage apart, such as the role of a fetch."""

    job: dict[str, Any]
    """What the step's process is told, without what differs by nature: docs/decisions/013-plan-lock.md."""

    environment: dict[str, str] = {}
    argv: tuple[str, ...] = ()
    image_lock: str = ""
    inputs: dict[str, str] = {}
    """Content digest by role, of the artifacts that were sealed when the lock was written."""

    open: tuple[str, ...] = ()
    """Fields of the job that waited for an artifact which was not sealed yet: they may come out otherwise."""


class PlanLock(Record):
    """The file."""

    lock: Literal[1] = VERSION
    name: str
    """Of the run."""

    program: str
    machine: LockedMachine
    steps: tuple[LockedStep, ...]
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """sha256 over the rest: what was cut, merged or changed by hand is no lock."""

    @model_validator(mode="after")
    def _is_whole(self) -> "PlanLock":
        if self.digest != digest_of(self):
            raise PydanticCustomError("digest", "its digest is not that of its content: it was changed after it was written")
        return self


def digest_of(lock: PlanLock) -> str:
    """sha256 of everything but the digest, in hex."""
    content = lock.model_dump(mode="json", exclude={"digest"})
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def make_lock(name: str, program: str, machine: LockedMachine, steps: tuple[LockedStep, ...]) -> PlanLock:
    """A lock with its digest."""
    bare = PlanLock.model_construct(lock=VERSION, name=name, program=program, machine=machine, steps=steps, digest="")
    return PlanLock(name=name, program=program, machine=machine, steps=steps, digest=digest_of(bare))


def write_lock(lock: PlanLock) -> str:
    """Its text; one field a line, so that two versions compare well."""
    return json.dumps(lock.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"


def read_lock(text: str, where: str) -> PlanLock:
    """The lock of a file's text. Raises UsageError, in words, for one that is cut, changed, of another format, or none."""
    again = "write it again with `caisson plan SPEC --lock`, or take it from where it was whole"
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError(f"{where} is cut or is no plan lock: it is not whole JSON", again) from None
    if not isinstance(found, dict) or "lock" not in found:
        raise UsageError(f"{where} is no plan lock: it has no key `lock`", "name the file that `caisson plan SPEC --lock` wrote")
    if found["lock"] != VERSION:
        raise UsageError(f"{where} is a plan lock of format {shown(repr(found['lock']))}, this program reads format {VERSION}", again)
    try:
        return PlanLock.model_validate(found)
    except ValidationError as error:
        detail = error.errors()[0]
        place = shown(".".join(map(str, detail["loc"])))
        raise UsageError(f"{where} is damaged: {place + ': ' if place else ''}{detail['msg']}", again) from None
