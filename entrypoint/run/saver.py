"""Checkpoints written behind the training: the trainer waits for a copy to host memory, a thread writes, hashes, flushes and seals.

Each rank writes its own files into `.partial-step-N` and, last, `rank-R.json`, which lists them. The first rank's thread waits for the
lists of all, writes the manifest and renames the folder. No communication of the trainer's is used: a thread must not touch it.
"""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from entrypoint.run.checkpoints import PREFIX, STATE, rank_file, rank_notes, remove_old, seal_checkpoint
from entrypoint.run.fragments import Fragment, write_tensors
from entrypoint.run.mapped_files import MappedFiles
from entrypoint.run.seal import write_durably
from schemas.manifest import File, Manifest

POLL_SECONDS = 0.02


def partial_folder(folder: Path, step: int) -> Path:
    """Where a checkpoint grows."""
    return folder / f".partial-{PREFIX}{step}"


class Saver:
    """One checkpoint at a time; a second waits for the first."""

    def __init__(self, folder: Path, keep: int, rank: int, ranks: int, sealed: Callable[[int, float, float], None]):
        self.folder, self.keep, self.rank, self.ranks, self.sealed = folder, keep, rank, ranks, sealed
        self.thread: threading.Thread | None = None
        self.failure: BaseException | None = None
        self.spare: int | None = None
        """Step whose checkpoint stays beside the newest; set before a save."""

        self.held: dict[str, torch.Tensor] = {}
        """Host copies, kept from save to save: pinned memory is slow to get."""

        self.files: MappedFiles | None = None
        """Where copies lie that memory has no room for, and with them what is copied."""

    @property
    def busy(self) -> bool:
        """Whether a save is under way."""
        return self.thread is not None and self.thread.is_alive()

    def check(self) -> None:
        """Raise what stopped the last save; called at each step, so that a run does not go on without checkpoints."""
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure

    def wait(self) -> None:
        """Until the save under way has ended; raises what stopped it."""
        if self.thread is not None:
            self.thread.join()
            self.thread = None
        self.check()

    def save(self, step: int, pieces: list[Fragment], notes: dict[str, Any], state: dict[str, Any] | None, manifest: Manifest) -> float:
        """Copy to host memory and let a thread do the rest; returns the seconds that the trainer stood still.

        `state` is the first rank's and goes into state.json. All ranks must have waited for their last save before any calls this.
        """
        began = time.monotonic()
        copies = self._to_host(pieces)
        text = None if state is None else json.dumps(state)  # now: it refers to a history that the trainer goes on to write
        stalled = time.monotonic() - began
        self.thread = threading.Thread(target=self._run, args=(step, copies, notes, text, manifest, stalled), name="saver", daemon=True)
        self.thread.start()
        return stalled

    def _to_host(self, pieces: list[Fragment]) -> dict[str, torch.Tensor]:
        copies = {}
        on_gpu = False
        for piece in pieces:
            held = self.held.get(piece.key)
            if held is None or held.shape != piece.tensor.shape or held.dtype != piece.tensor.dtype:
                held = self._room(piece.tensor)
                self.held[piece.key] = held
            held.copy_(piece.tensor, non_blocking=True)
            on_gpu = on_gpu or piece.tensor.is_cuda
            copies[piece.key] = held
        if on_gpu:
            torch.cuda.synchronize()
        return copies

    def _room(self, tensor: torch.Tensor) -> torch.Tensor:
        if self.files is not None:
            return self.files.zeros(tensor.numel(), tensor.dtype).view(tensor.shape)
        return torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda)

    def _run(self, step: int, copies: dict[str, torch.Tensor], notes: dict[str, Any], state: str | None, manifest: Manifest, stalled: float) -> None:
        try:
            began = time.monotonic()
            self._write(step, copies, notes, state, manifest)
            if state is not None:
                self.sealed(step, stalled, time.monotonic() - began)
        except Exception as failure:  # raised by `check` on the trainer's thread
            self.failure = failure

    def _write(self, step: int, copies: dict[str, torch.Tensor], notes: dict[str, Any], state: str | None, manifest: Manifest) -> None:
        partial = partial_folder(self.folder, step)
        partial.mkdir(parents=True, exist_ok=True)
        written = write_tensors(partial / rank_file(self.rank), copies)
        if self.files is not None:
            self.files.check()  # before anything says that the file is good: it may hold what a disk that failed gave back
        write_durably(partial / rank_notes(self.rank), json.dumps({**notes, "file": written.model_dump()}))
        if state is None:
            return
        write_durably(partial / STATE, state)
        files = [self._listed(partial, rank) for rank in range(self.ranks)]
        seal_checkpoint(partial, step, manifest, {file.path: file for file in files})
        remove_old(self.folder, self.keep, self.spare)

    def _listed(self, partial: Path, rank: int) -> File:
        """What a rank says that it wrote, once it has; a rank that failed ends the whole run, and this thread with it."""
        notes = partial / rank_notes(rank)
        while not notes.is_file():
            time.sleep(POLL_SECONDS)
        return File.model_validate(json.loads(notes.read_text(encoding="utf-8"))["file"])
