"""Give a finished folder its manifest. The manifest is written last; the rename publishes all or nothing.

Order (ALICE, OSDI'14): files are flushed, then the manifest, then the folder, then the rename, then the parent folder.
"""

import errno
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from schemas.manifest import FILE_NAME, File, Manifest, check_summary


def seal(partial: Path, final: Path, manifest: Manifest, known: Mapping[str, File] | None = None) -> Manifest:
    """Hash and flush every file of `partial`, write the manifest, and rename the folder to `final`.

    `known` are files, by relative path, that were hashed and flushed while they were written; they are not read again.
    """
    known = known or {}
    paths = (path for path in sorted(partial.rglob("*")) if path.is_file() and path.name != FILE_NAME)
    files = tuple(known.get(path.relative_to(partial).as_posix()) or _describe(path, partial) for path in paths)
    sealed = manifest.model_copy(update={"files": files, "finished_at": datetime.now(UTC).isoformat(timespec="seconds")})
    write_durably(partial / FILE_NAME, sealed.model_dump_json(indent=2) + "\n")
    _publish(partial, final)
    return sealed


def publish(draft: Path, final: Path) -> None:
    """Flush every file of `draft` and rename it: whoever sees `final` sees all of it, after a power cut too."""
    for path in sorted(draft.rglob("*")):
        if path.is_file():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
    _publish(draft, final)


def _publish(draft: Path, final: Path) -> None:
    """Its files are flushed; the folders, the rename and where it went to follow."""
    for folder in sorted((p for p in draft.rglob("*") if p.is_dir()), reverse=True):
        flush_folder(folder)
    flush_folder(draft)
    draft.rename(final)
    flush_folder(final.parent)


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a sealed folder; None where there is none or it cannot be read or counted with."""
    try:
        made = Manifest.model_validate_json((folder / FILE_NAME).read_text(encoding="utf-8"))
        check_summary(made)
        return made
    except (OSError, ValidationError, UnicodeDecodeError):
        return None


def faults(folder: Path, manifest: Manifest, *, hashes: bool) -> list[str]:
    """What does not match the manifest; with `hashes` every byte is read, without only names and sizes are compared."""
    found = []
    for file in manifest.files:
        path = folder / file.path
        if not path.is_file():
            found.append(f"{file.path} is missing")
        elif (size := path.stat().st_size) != file.bytes:
            found.append(f"{file.path} has {size} bytes, {file.bytes} were sealed")
        elif hashes and (fault := _altered(path, file)):
            found.append(fault)
    return found


def _altered(path: Path, file: File) -> str:
    try:
        return f"{file.path} was altered after it was sealed" if sha256(path) != file.sha256 else ""
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return f"{file.path} cannot be read from the disk any more"


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_durably(path: Path, text: str) -> None:
    """Replace a file in one step: readers see the old text or the new one. Whoever sees the new one may rename the folder at once."""
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    with _opened(path.parent) as folder:  # before anybody can see the file: the folder's name may not hold after that
        draft.replace(path)
        os.fsync(folder)


def flush_folder(folder: Path) -> None:
    """Make a folder's entries durable."""
    with _opened(folder) as descriptor:
        os.fsync(descriptor)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _describe(path: Path, folder: Path) -> File:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        os.fsync(stream.fileno())
    return File(path=path.relative_to(folder).as_posix(), bytes=path.stat().st_size, sha256=digest)
