"""Making an export the one that is served: current.json, locked, verified before it is written, replaced in one step."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Literal

from pydantic import ValidationError

from entrypoint.run.seal import write_durably
from entrypoint.run.store import Store
from schemas.current import FILE_NAME, Current, Forced, Refused
from schemas.errors import CaissonError, GateRefused, MachineError, UsageError

By = Literal["export", "evaluate", "promote", "rollback", "serve"]

REMEMBERED = 5
"""Refusals that current.json keeps."""

FORCED = 50
"""Promotions against the gate that it keeps."""


def read_current(store: Store, name: str) -> Current | None:
    """What is current; None where nothing is yet. Raises MachineError for a file that was edited by hand or cannot be read."""
    file = store.root / name / FILE_NAME
    try:
        return Current.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is no document of caisson"
        raise MachineError(
            f"{file} cannot be read: {said}", "remove it, then `caisson promote SPEC ID` writes it anew; `caisson exports SPEC` lists the IDs"
        ) from None


def promote(store: Store, name: str, export: str, by: By, *, reason: str = "", refused: str = "") -> Current:
    """Make an export current. Every byte is read first: raises UsageError for one that is not there, GateRefused for a damaged one, and changes
    nothing then. `refused` is what the gate said where somebody promotes all the same, for a `reason`: both are written down."""
    _verify(store, name, export)
    with _locked(store, name):
        before = read_current(store, name)
        forced = (Forced(export=export, at=_now(), reason=reason, refused=refused),) if refused else ()
        return _write(store, name, before, export, by, (*forced, *(before.forced if before else ()))[:FORCED])


def rollback(store: Store, name: str) -> Current:
    """Make the one current that was before, the newest of them that is still whole. Raises UsageError where there is none."""
    with _locked(store, name):
        current = read_current(store, name)
        damaged = []
        for export in current.previous if current else ():
            try:
                _verify(store, name, export)
            except CaissonError as error:
                damaged.append(error.what)
                continue
            return _write(store, name, current, export, "rollback", current.forced if current else ())
    found = f": {'; '.join(damaged)}" if damaged else ""
    raise UsageError(
        f"{name} has no earlier export to go back to{found}", "`caisson exports SPEC` lists what there is; `caisson promote SPEC ID` takes any of them"
    )


def put_back(store: Store, name: str, refused: str, serves: str, why: str) -> Current:
    """An export did not come to serve: what serves is current again, unless somebody has chosen another one meanwhile."""
    with _locked(store, name):
        current = read_current(store, name)
        base = current or Current(export=serves, at=_now(), by="serve")
        entries = (Refused(export=refused, at=_now(), why=why), *(r for r in base.refused if r.export != refused))[:REMEMBERED]
        told = base.model_copy(update={"refused": entries})
        if told.export == refused:
            previous = tuple(export for export in told.previous if export not in (refused, serves))
            told = told.model_copy(update={"export": serves, "previous": previous, "at": _now(), "by": "serve"})
        _put(store, name, told)
        return told


def forget(store: Store, name: str, exports: set[str]) -> None:
    """These are gone: nobody can go back to them."""
    with _locked(store, name):
        if exports and (current := read_current(store, name)):
            left = tuple(export for export in current.previous if export not in exports)
            _put(store, name, current.model_copy(update={"previous": left}))


def should_promote(current: Current | None, export: str, sealed_at: str, *, automatic: bool) -> bool:
    """Whether `export` makes its newest artifact current: the first of a name always, later ones unless the spec says `manual`.

    One that is older than the choice that stands was passed over by somebody, as by a rollback: running export again changes nothing then.
    """
    if current is None:
        return True
    return automatic and current.export != export and sealed_at >= current.at


def _write(store: Store, name: str, before: Current | None, export: str, by: By, forced: tuple[Forced, ...]) -> Current:
    """The new choice; the former is the first of the previous ones."""
    if before is not None and before.export == export:
        made = before.model_copy(update={"forced": forced})
    else:
        former = (before.export, *before.previous) if before else ()
        made = Current(
            export=export, previous=tuple(dict.fromkeys(f for f in former if f != export)), at=_now(), by=by, refused=before.refused if before else (),
            forced=forced,
        )  # fmt: skip
    _put(store, name, made)
    return made


def _put(store: Store, name: str, current: Current) -> None:
    write_durably(store.root / name / FILE_NAME, current.model_dump_json(indent=1) + "\n")


def _verify(store: Store, name: str, export: str) -> None:
    folder = f"{name}/exports/{export}"
    if not export or "/" in export or export.startswith(".") or not (store.root / folder).is_dir():
        raise UsageError(f"{name} has no export {export}", "`caisson exports SPEC` lists them")
    if found := store.damage(folder):
        raise GateRefused(f"the export {folder} is damaged: {found[0]}", "`caisson status SPEC --verify` names all of it; `caisson export SPEC` makes it again")


@contextmanager
def _locked(store: Store, name: str) -> Iterator[None]:
    """One writer at a time; readers need no lock."""
    try:
        descriptor = os.open(store.root / name / ".lock-current", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise MachineError(f"{store.root / name} cannot be written: {error.strerror}", "give the store to uid 10001, or run export first") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
