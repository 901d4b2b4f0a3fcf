"""Sealed checkpoints of a run: which is the newest that can be trusted, and which may go."""

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import ValidationError

from entrypoint.run.access import check_folder, refused_in_words
from entrypoint.run.seal import faults, seal
from schemas.manifest import FILE_NAME, File, Manifest

CHECKPOINTS = "checkpoints"
"""Folder beside what a training fills."""

PREFIX = "step-"
DAMAGED = ".damaged-"
PARTIAL = ".partial-"
STATE = "state.json"
"""What a trainer needs beside tensors."""

NAME = re.compile(rf"{PREFIX}(0|[1-9][0-9]{{0,17}})")
"""Of a checkpoint. Anything else in the folder is somebody else's and left alone."""

TENSORS = re.compile(r"rank-[0-9]+\.safetensors")


def rank_file(rank: int) -> str:
    """Tensors of one rank."""
    return f"rank-{rank:05d}.safetensors"


def rank_notes(rank: int) -> str:
    """What else a rank needs, and the list of what it wrote."""
    return f"rank-{rank:05d}.json"


def training_of(checkpoints: Path) -> str:
    """The work id of the training whose checkpoints lie in a folder: `.partial-WORK/checkpoints`."""
    return checkpoints.parent.name.removeprefix(PARTIAL)


def seal_checkpoint(written: Path, step: int, manifest: Manifest, known: Mapping[str, File] | None = None) -> Path:
    """Seal what the trainer wrote and give it its name; an unsealed folder is never resumed from.

    `known` are files that were flushed and hashed while they were written.
    """
    final = written.with_name(f"{PREFIX}{step}")
    if _is_folder(final):  # the same step again, after a resume from before it
        shutil.rmtree(final)
    elif _is_there(final):
        _set_aside(final)
    seal(written, final, manifest, known or {})
    return final


def newest_sealed(folder: Path, work: str) -> tuple[int, Manifest] | None:
    """The newest checkpoint of the training `work` that is whole as far as names and sizes tell: what `newest_valid` will choose unless
    bytes changed. Raises MachineError where this user may not look."""
    for path in checkpoints_in(folder):
        found = inspect(path, work, hashes=False)
        if isinstance(found, Manifest):
            return _step(path), found
    return None


def newest_valid(folder: Path, work: str, say: Callable[[str], None]) -> Path | None:
    """The newest checkpoint of the training `work` whose every byte is as it was sealed; says which were passed over and why.

    Raises MachineError where this user may not read one: it may be whole, and the steps since an older one would be lost.
    """
    for path in checkpoints_in(folder):
        found = inspect(path, work, hashes=True)
        if isinstance(found, Manifest):
            return path
        say(f"  passes over {path.name}: {found}")
    return None


def inspect(path: Path, work: str, *, hashes: bool) -> Manifest | str:
    """The manifest of a checkpoint that may be gone on from, or the first reason against it. Raises MachineError where it may not be read."""
    with refused_in_words(path):
        try:
            content = (path / FILE_NAME).read_bytes()
            made = Manifest.model_validate_json(content)
        except FileNotFoundError:
            return "it was never sealed"
        except ValidationError:
            return "its manifest cannot be understood"
        if made.stage != "checkpoint" or made.identity != work:
            return "it belongs to another training"
        return _incomplete(made) or next(iter(faults(path, made, hashes=hashes)), "") or made


def _incomplete(made: Manifest) -> str:
    """What is missing in the list of files, or more there than its processes wrote: nothing that is not listed is read."""
    ranks, listed = made.job.get("ranks"), {file.path for file in made.files}
    if not isinstance(ranks, int) or ranks < 1:
        return "its manifest does not say how many processes wrote it"
    for name in (STATE, *(part(rank) for rank in range(min(ranks, len(listed) + 1)) for part in (rank_file, rank_notes))):
        if name not in listed:
            return f"its manifest does not list {name}"
    expected = {rank_file(rank) for rank in range(ranks)}
    more = next((name for name in sorted(listed) if TENSORS.fullmatch(name) and name not in expected), "")
    return f"its manifest lists {more}, but {ranks} process(es) wrote it" if more else ""


def clear_the_way(folder: Path, resumed: Path | None) -> None:
    """Before training goes on: half-written folders go, and what was passed over no longer counts as a checkpoint.

    Raises MachineError where this user may not do that, or could not save there."""
    if folder.exists():
        check_folder(folder)
    with refused_in_words(folder):
        for path in folder.glob(f"{PARTIAL}{PREFIX}*"):
            _remove(path)
        for path in checkpoints_in(folder):
            if resumed is None or _step(path) > _step(resumed):
                _set_aside(path)


def remove_old(folder: Path, keep: int, spare: int | None = None) -> None:
    """Leave the newest `keep`, and the one of step `spare`; call only after a new one is sealed."""
    for path in checkpoints_in(folder)[keep:]:
        if _step(path) != spare:
            shutil.rmtree(path)


def valid_at(folder: Path, step: int, work: str) -> Path | None:
    """The checkpoint of one step of the training `work`, where every byte is as it was sealed. Raises MachineError where it may not be read."""
    path = next((path for path in checkpoints_in(folder) if _step(path) == step), None)
    return path if path is not None and isinstance(inspect(path, work, hashes=True), Manifest) else None


def checkpoints_in(folder: Path) -> list[Path]:
    """Folders with the name of a checkpoint, newest first; links and files of such a name are not ours. Empty where there is no folder."""
    with refused_in_words(folder):
        try:
            found = [path for path in folder.iterdir() if NAME.fullmatch(path.name) and _is_folder(path)]
        except FileNotFoundError:
            return []
    return sorted(found, key=_step, reverse=True)


def _step(path: Path) -> int:
    return int(path.name.removeprefix(PREFIX))


def _set_aside(path: Path) -> None:
    aside = path.with_name(f"{DAMAGED}{path.name}")
    _remove(aside)
    path.rename(aside)


def _remove(path: Path) -> None:
    """Whatever stands under a name of ours; a link itself, not what it leads to."""
    if _is_folder(path):
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()
