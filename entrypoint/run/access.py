"""What the system refuses of files that belong to a store, in words: whose they should be, and what stands in their place."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import MachineError

CHOWN = "give the store to uid 10001: chown -R 10001:10001"

NOT_ALLOWED = (errno.EACCES, errno.EPERM)
IN_THE_WAY = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST)
"""A folder where a file belongs, or the other way round."""


def refusal(error: OSError, place: Path) -> MachineError | None:
    """MachineError for what is not ours to mend: a wrong owner, a wrong mode, or something of another kind under a name of ours.

    `place` stands for the path where the system names none. None for any other error.
    """
    path = _named(error, place)
    if error.errno in NOT_ALLOWED:
        what = f"{path} may not be used by uid {os.geteuid()}: {error.strerror}"
        return MachineError(what, CHOWN)
    if error.errno == errno.EROFS:
        return MachineError(f"{path} cannot be written: {error.strerror}", "mount the store with write access, or name another with --store")
    if error.errno in IN_THE_WAY:
        return MachineError(f"{path} is {_kind(path)}, which is in the way of what belongs there", "remove it, or move it out of the store")
    return None


def refusal_at(error: BaseException, place: Path) -> MachineError | None:
    """`refusal` of an error about a file at, below or on the way to `place`; None for any other."""
    if not isinstance(error, OSError):
        return None
    path = _named(error, place)
    return refusal(error, place) if path.is_relative_to(place) or place.is_relative_to(path) else None


@contextmanager
def refused_in_words(place: Path) -> Iterator[None]:
    """Around work on files at, below or on the way to `place`: MachineError for what `refusal` knows. Errors of files elsewhere stay as they are."""
    try:
        yield
    except OSError as error:
        if told := refusal_at(error, place):
            raise told from None
        raise


def check_folder(folder: Path) -> None:
    """Raise MachineError where a folder that is there is none, or may not be read, written and entered by this user."""
    with refused_in_words(folder):
        if not stat.S_ISDIR(folder.stat().st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def _named(error: OSError, place: Path) -> Path:
    """The path that an error is about: where a draft is given its name, that name. Of a path that leads through a file, that file."""
    given = error.filename2 or error.filename
    if not isinstance(given, str | os.PathLike):  # an open descriptor, or nothing
        return place
    path = Path(given)
    if error.errno == errno.ENOTDIR:
        return next((above for above in (path, *path.parents) if above.is_file()), path)
    return path


def _kind(path: Path) -> str:
    return "a folder" if path.is_dir() else "a link" if path.is_symlink() else "no folder"
