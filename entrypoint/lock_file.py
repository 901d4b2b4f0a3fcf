"""plan.lock.json on the disk: found beside the spec or where the user says, written whole."""

import stat
import sys
from pathlib import Path

import click

from entrypoint.chain import Chain
from entrypoint.documents import read_document
from entrypoint.plan.lock import lock_of
from entrypoint.run.seal import write_durably
from schemas.errors import MachineError
from schemas.lock import LOCK_FILE, PlanLock, read_lock, write_lock


def find_lock(spec: Path, named: Path | None) -> tuple[PlanLock, str] | None:
    """The lock and its name; None where nobody wrote one. Raises UsageError for a file that is no lock, or named and not there."""
    path = named or spec.with_name(LOCK_FILE)
    if named is None and not _is_there(path):
        return None
    return read_lock(read_document(path, "plan lock", "write it with `caisson plan SPEC --lock`"), str(path)), path.name


def save_lock(chain: Chain, spec: Path, named: Path | None) -> None:
    """Write the lock of a plan that every stage can do. Raises why one cannot, and MachineError where the file cannot be written."""
    for error in (*(error for _, error in chain.refusals), *chain.errors.values()):
        raise error
    lock = lock_of(chain.merged(), chain.facts)
    if str(named) == "-":
        sys.stdout.write(write_lock(lock))
        return
    path = named or spec.with_name(LOCK_FILE)
    try:
        write_durably(path, write_lock(lock))
    except OSError as error:
        raise MachineError(f"{path} cannot be written: {error.strerror}", "name another file with --lock-file, or - for standard output") from None
    waits = sorted({f"{step.stage}: {', '.join(step.open)}" for step in lock.steps if step.open})
    click.echo(f"{path}: {len(lock.steps)} steps of {lock.name}, for {', '.join(lock.machine.accelerators) or lock.machine.device}")
    for line in waits:
        click.echo(f"  still open, {line}")


def _is_there(path: Path) -> bool:
    """Compose mounts /dev/null where the user has named no lock."""
    try:
        return not stat.S_ISCHR(path.stat().st_mode)
    except OSError:
        return False
