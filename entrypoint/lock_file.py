"""plan.lock.json on the disk: found beside the spec or where the user says, written whole."""

import stat
import sys
from pathlib import Path

import click

from entrypoint.chain import Chain
from entrypoint.documents import KINDS, NOT_ITSELF, read_document
from entrypoint.plan.lock import lock_of
from entrypoint.run.seal import write_durably
from schemas.errors import MachineError, UsageError
from schemas.lock import LOCK_FILE, PlanLock, read_lock, write_lock

WHERE = "name another file with --lock-file, or - for standard output"


def find_lock(spec: Path, named: Path | None) -> tuple[PlanLock, str] | None:
    """The lock and its name; None where nobody wrote one. Raises UsageError for a file that is no lock, or named and not there."""
    path = named or spec.with_name(LOCK_FILE)
    if named is None and not _is_there(path):
        return None
    return read_lock(read_document(path, "plan lock", "write it with `caisson plan SPEC --lock`"), str(path)), path.name


def save_lock(chain: Chain, spec: Path, named: Path | None) -> None:
    """Write the lock of a plan that every stage can do. Raises why one cannot, UsageError for a place that is no file, and MachineError where the file cannot be written."""
    for error in (*(error for _, error in chain.refusals), *chain.errors.values()):
        raise error
    lock = lock_of(chain.merged(), chain.facts)
    if str(named) == "-":
        sys.stdout.write(write_lock(lock))
        return
    path = named or spec.with_name(LOCK_FILE)
    try:
        write_durably(_place(path), write_lock(lock))
    except OSError as error:
        raise MachineError(f"{path} cannot be written: {error.strerror}", WHERE) from None
    waits = sorted({f"{step.stage}: {', '.join(step.open)}" for step in lock.steps if step.open})
    click.echo(f"{path}: {len(lock.steps)} steps of {lock.name}, for {', '.join(lock.machine.accelerators) or lock.machine.device}")
    for line in waits:
        click.echo(f"  still open, {line}")


def _place(path: Path) -> Path:
    """Where the text goes: what a link names, so that the link stays. Raises UsageError for a device, pipe or folder, which a new file would replace: root may
    do that, also to /dev/null. Raises OSError."""
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except FileNotFoundError:
        return path.resolve()
    except OSError as error:
        if error.errno in NOT_ITSELF:
            raise UsageError(f"{path} {NOT_ITSELF[error.errno]}", WHERE) from None
        raise
    if kind in KINDS:
        raise UsageError(f"{path} is {KINDS[kind]}", WHERE)
    return path.resolve()


def _is_there(path: Path) -> bool:
    """Compose mounts /dev/null where the user has named no lock."""
    try:
        return not stat.S_ISCHR(path.stat().st_mode)
    except OSError:
        return False
