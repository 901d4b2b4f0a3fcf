"""Local sources and models as they lie on the disk; what cannot be read is a fact, not an error."""

import errno
import json
import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from schemas.anatomy import Anatomy, anatomy_in, file_of, read_anatomy
from schemas.facts import ModelFacts, SourceFacts
from schemas.manifest import FILE_NAME

GLOB_CHARACTERS = "*?["
MAX_FILES = 100_000
"""Of one source: looked at on every run. `/` has more."""

GONE = (errno.ENOENT, errno.ESRCH, errno.ELOOP, errno.ENOTDIR)
"""What a file or folder that is listed may turn out to be: a link to nowhere, or, in /proc, of a process that has ended."""

CONFIG_BYTES = 64 * 2**20
"""No config is larger."""


def look(source: str) -> SourceFacts:
    """A local file, folder or glob as it lies on the disk; what cannot be read is a fact, not an error."""
    try:
        return _look(Path(source))
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):  # nothing can be there
            return SourceFacts(kind="missing")
        return SourceFacts(kind="unreadable", fault=f"{error.filename or source} cannot be read: {error.strerror}")


def _look(path: Path) -> SourceFacts:
    if path.is_file():
        return SourceFacts(kind="file", files=_stat([(path, path.name)]))
    if path.is_dir():
        return _folder([(p, p.relative_to(path).as_posix()) for p in sorted(islice(_walk(path), MAX_FILES + 1))])
    if any(c in str(path) for c in GLOB_CHARACTERS):
        parent = Path(path.anchor) if path.is_absolute() else Path()
        found = _folder([(p, str(p)) for p in sorted(islice(parent.glob(str(path.relative_to(path.anchor))), MAX_FILES + 1))])
        return found if found.files or found.fault else SourceFacts(kind="missing")
    return SourceFacts(kind="missing")


def _folder(files: list[tuple[Path, str]]) -> SourceFacts:
    if len(files) > MAX_FILES:
        return SourceFacts(kind="unreadable", fault=f"more than {MAX_FILES:,} files")
    return SourceFacts(kind="folder", files=_stat(files))


def _walk(folder: Path) -> Iterator[Path]:
    """Everything below a folder but folders. Raises OSError for a folder that may not be listed: its files would be missing in silence.
    Not for a hidden one, of which fetch takes nothing."""

    def refuse(error: OSError) -> None:
        hidden = any(part.startswith(".") for part in Path(error.filename).relative_to(folder).parts)
        if error.errno not in GONE and not hidden:
            raise error

    for base, _, names in os.walk(folder, onerror=refuse):
        yield from (Path(base, name) for name in names)


def _stat(paths: list[tuple[Path, str]]) -> tuple[tuple[str, int, int], ...]:
    """Path as shown, bytes and time of change of those that are regular files, after links."""
    files = []
    for path, shown in paths:
        try:
            found = path.stat()
        except OSError as error:
            if error.errno not in GONE:
                raise
            continue
        if stat.S_ISREG(found.st_mode):
            files.append((shown, found.st_size, found.st_mtime_ns))
    return tuple(files)


def read_model(folder: Path, store: Path | None = None) -> ModelFacts | None:
    """config.json of a model folder, or that file alone; None where there is none that can be read (fetch says why)."""
    try:
        path = folder / "config.json" if folder.is_dir() else folder
        if not path.is_file() or path.stat().st_size > CONFIG_BYTES:
            return None
        config = json.loads(path.read_bytes())
        if not isinstance(config, dict):
            return None
        weights = sum(size for _, size, _ in _stat([(p, p.name) for p in folder.glob("*.safetensors")]))
    except (OSError, ValueError, RecursionError):
        return None
    return ModelFacts(config=config, stored_bytes=weights or None, anatomy=_anatomy(folder, path, store))


def _anatomy(folder: Path, config: Path, store: Path | None) -> Anatomy | None:
    """As fetch sealed it with the model, or as `caisson anatomy` left it in the store for this config."""
    try:
        if found := anatomy_in((folder / FILE_NAME).read_bytes()):
            return found
    except OSError:
        pass
    try:
        return read_anatomy((store / file_of(config.read_bytes())).read_bytes()) if store else None
    except OSError:
        return None
