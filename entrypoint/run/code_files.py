"""Where the code of a plug-in lies: a file, or a module of what is installed. Looks and reads; imports nothing."""

import importlib.metadata as metadata
from importlib.machinery import PathFinder
from pathlib import Path

from schemas.code import MAX_BYTES, CodeFacts, read_code
from schemas.plugins import is_file


def find_code(source: str) -> Path | None:
    """The file of a plug-in's source; None where it is not there. Of a module only the package's folder is looked for: its parents are not run."""
    if is_file(source):
        return Path(source) if Path(source).is_file() else None
    top, *inner = source.split(".")
    found = PathFinder.find_spec(top)
    if found is None:
        return None
    if not inner:
        return Path(found.origin) if found.origin and found.origin.endswith(".py") else None
    for folder in found.submodule_search_locations or ():
        place = Path(folder, *inner)
        for path in (place.with_suffix(".py"), place / "__init__.py"):
            if path.is_file():
                return path
    return None


def read_limited(path: Path) -> bytes:
    """The file, or as much of it as tells that it is too large."""
    with path.open("rb") as stream:
        return stream.read(MAX_BYTES + 1)


def look_at_code(source: str) -> CodeFacts | None:
    """What a plug-in's file says; None where it is not there or may not be read, which fetch says."""
    path = find_code(source)
    try:
        return read_code(read_limited(path)) if path else None
    except OSError:
        return None


def version_of(source: str) -> str:
    """The version of the package that an installed module belongs to; empty for a file."""
    if is_file(source):
        return ""
    names = metadata.packages_distributions().get(source.partition(".")[0], [])
    return ", ".join(f"{name} {metadata.version(name)}" for name in sorted(set(names)))
