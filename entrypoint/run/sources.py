"""Where a local model or rows lie, and what of them fetch takes or refuses: looked at before a byte moves, by `plan` too."""

import difflib
import errno
import glob
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from entrypoint.run.code_files import find_code, read_limited
from entrypoint.run.row_names import COMPRESSIONS, SUFFIXES, kind_of
from entrypoint.run.scan import Found, check_gguf, check_inside, check_name, scan_model, unreadable, walk
from schemas.code import read_code
from schemas.errors import GateRefused, MachineError, UsageError
from schemas.job import FetchJob
from schemas.plugins import is_file

METADATA = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "package.json", "config.json")
"""Files of JSON that lie beside rows and hold none."""

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
            elif job.role in ("data", "suites"):
                find_rows(source)
            else:
                read_plugin(source)
        if job.template:
            read_template(job.template)


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
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise UsageError(f"{str(error.filename)[:40]}... is too long for the name of a file", "write the path of a file or folder") from None


def find_rows(source: str) -> Copies:
    """Files of one local source, each with its place below the source's own folder. Raises UsageError or GateRefused."""
    path, shown = Path(source), f"data: {source}"
    if path.is_dir():
        inside = list(walk(path, shown))
        found = [(path / p, p) for p in choose_rows(inside)]
        if not found:
            raise UsageError(
                f"{shown} holds no file of rows{endings(inside)}", f"files of rows end in {', '.join(SUFFIXES)}, or these with {', '.join(COMPRESSIONS)}"
            )
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
    try:
        matched = sorted(p for p in root.glob(str(path.relative_to(root))) if not p.is_dir())
    except ValueError as error:
        raise UsageError(f"{shown} is no pattern: {error}", "** stands alone between two /, as in /data/**/*.jsonl") from None
    for p in matched:
        check_name(p.relative_to(root).as_posix(), str(root))
    found = [(p, p.relative_to(root).as_posix()) for p in matched if check_inside(p, root.resolve(), f"{shown}: {p}")]
    if not found:
        raise UsageError(f"{shown} matches no file", near(root / "*"))
    return found


def choose_rows(paths: Iterable[str]) -> list[str]:
    """The files of a folder or a data set that hold rows: none that is hidden or describes the others, and .txt only where there is nothing else."""
    found = [p for p in paths if kind_of(p) and not any(part.startswith(".") for part in p.split("/")) and p.rsplit("/")[-1] not in METADATA]
    return [p for p in found if kind_of(p) != ".txt"] or found


def endings(paths: Iterable[str]) -> str:
    """For a message: which endings there are instead."""
    found = sorted({Path(p).suffix for p in paths if not p.startswith(".")} - {""})
    return f"; it holds {', '.join(found)}" if found else ""


def split_source(source: str) -> tuple[str, str]:
    """A hub's source of rows as the repository with its revision, and the path or glob behind it; empty for all."""
    found = re.fullmatch(r"(\w+://[\w.-]+/[\w.-]+(?:@(?:refs/\w+/[\w.-]+|[\w.-]+))?)(?:/(.+))?", source)
    return (found[1], found[2] or "") if found else (source, "")


def choose_remote(paths: list[str], inside: str) -> list[str]:
    """The files of a data set that a path or glob names; a folder is taken as one on the disk is."""
    if not inside:
        return choose_rows(paths)
    if glob.has_magic(inside):
        return [p for p in paths if PurePosixPath(p).match(inside) and p.count("/") == inside.count("/")]
    below = inside.rstrip("/") + "/"
    return [p for p in paths if p == inside] or [below + p for p in choose_rows(p.removeprefix(below) for p in paths if p.startswith(below))]


def read_template(source: str) -> str:
    """The text of a chat template; raises UsageError for a file that is none."""
    path = Path(source)
    if not path.is_file():
        raise UsageError(f"data.template: {source} is not there", near(path))
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"data.template: {source} is not UTF-8 text", "name a Jinja file") from None
    if "messages" not in text:
        raise UsageError(f"data.template: {source} does not use `messages`", "name a Jinja file that renders a list `messages`")
    return text


def read_plugin(source: str) -> bytes:
    """The text of a plug-in's file; raises UsageError for one that is not there or no Python, MachineError for a module that is not installed."""
    path = find_code(source)
    if path is None and not is_file(source):
        raise MachineError(f"plugins: the module {source} is not installed here", "install its package in the image of train, or name a file")
    if path is None:
        raise UsageError(f"plugins: {source} is not there", near(Path(source)))
    content = read_limited(path)
    if fault := read_code(content).fault:
        raise UsageError(f"plugins: {source}: {fault}", "a plug-in is a file of Python that can be parsed")
    return content


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
