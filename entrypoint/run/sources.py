"""Where a local model or rows lie, and what of them fetch takes or refuses: looked at before a byte moves, by `plan` too."""

import difflib
import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from entrypoint.run.scan import Found, check_gguf, check_inside, scan_model, unreadable, walk
from schemas.errors import GateRefused, MachineError, UsageError
from schemas.job import FetchJob

ROW_SUFFIXES = (".jsonl", ".json")
"""Of files that are taken from a folder or a data set; a file or a glob takes what it names."""

Copies = list[tuple[Path, str]]
"""Source, and place inside the output."""


def is_hub(source: str) -> bool:
    """Whether a source is hf://... or ms://..."""
    return source.startswith(("hf://", "ms://"))


def check_local(job: FetchJob) -> None:
    """Raise what fetch will refuse of local sources, as far as names, configs and headers tell; writes nothing."""
    with readable():
        for source in filter(lambda s: not is_hub(s), job.sources):
            if job.role == "model":
                find_model(source, job.trust_remote_code)
            else:
                find_rows(source)


def find_model(source: str, trust_remote_code: bool) -> Found | None:
    """The files of a model's folder; None for a GGUF file. Raises UsageError or GateRefused."""
    path = Path(source)
    if path.is_dir():
        if not any(path.iterdir()):
            raise UsageError(f"model.source: {source} is empty", near(path))
        return scan_model(path, source, trust_remote_code)
    if not path.is_file():
        raise UsageError(f"model.source: {source} is not there", near(path))
    if path.suffix != ".gguf":
        raise UsageError(f"model.source: {source} is a file", "write a folder with config.json and safetensors, or a .gguf file")
    check_gguf(path)
    return None


@contextmanager
def readable() -> Iterator[None]:
    """Words for what this user may not read."""
    try:
        yield
    except PermissionError as error:
        raise MachineError(f"{error.filename} may not be read", "give every user the right to: chmod -R a+rX on the host") from error


def find_rows(source: str) -> Copies:
    """Files of one local source, each with its place below the source's own folder. Raises UsageError or GateRefused."""
    path, shown = Path(source), f"data: {source}"
    if path.is_dir():
        found = [(path / p, p) for p in walk(path, shown) if is_row_file(p)]
        if not found:
            raise UsageError(f"{shown} holds no {' or '.join(ROW_SUFFIXES)} file", "write the file itself, or turn the rows into JSON Lines")
        return found
    if path.exists() or path.is_symlink():
        if not check_inside(path, path.parent.resolve(), shown):
            raise GateRefused(f"{shown} is neither a file nor a folder", "write a .jsonl file")
        return [(path, path.name)]
    if not glob.has_magic(source):
        raise UsageError(f"{shown} is not there", near(path))
    root = Path(*path.parts[: next(i for i, part in enumerate(path.parts) if glob.has_magic(part))])
    if "**" in source and root.is_dir():  # glob passes over folders that it may not list
        for _ in os.walk(root, onerror=unreadable):
            pass
    matched = sorted(p for p in root.glob(str(path.relative_to(root))) if not p.is_dir())
    found = [(p, p.relative_to(root).as_posix()) for p in matched if check_inside(p, root.resolve(), f"{shown}: {p}")]
    if not found:
        raise UsageError(f"{shown} matches no file", near(root / "*"))
    return found


def is_row_file(path: str) -> bool:
    """Whether a file of this name is taken from a folder or a data set."""
    return path.lower().endswith(ROW_SUFFIXES) and not any(part.startswith(".") for part in path.split("/"))


def near(path: Path) -> str:
    """What lies where something was looked for, the nearest names first."""
    parent = path.parent
    while not parent.is_dir():
        path, parent = parent, parent.parent
    names = sorted(p.name for p in parent.iterdir() if not p.name.startswith(".") and p != path)
    close = difflib.get_close_matches(path.name, names, n=1)
    if close:
        return f"did you mean {parent / close[0]}?"
    return f"in {parent} there is: {', '.join(names[:10])}" if names else f"{parent} is empty; compose.yaml says which folder of the host is mounted there"
