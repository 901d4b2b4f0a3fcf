"""The store: where artifacts lie, which are sealed, and who writes one right now."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from entrypoint.run.seal import faults, read_manifest
from schemas.errors import MachineError
from schemas.manifest import Sealed
from schemas.plan import Step


class Store:
    """One folder with every artifact of every run."""

    def __init__(self, root: Path):
        self.root = root

    def final(self, step: Step) -> Path:
        """Where the step's artifact is once it is sealed."""
        return self.root / step.folder / step.id

    def partial(self, step: Step) -> Path:
        """Where it grows until then; the name is the same in every attempt, so that work goes on."""
        return self.root / step.folder / f".partial-{step.id}"

    def logs(self, name: str) -> Path:
        """Events of a run."""
        return self.root / name / "logs"

    def find(self, step: Step) -> Sealed | None:
        """The sealed artifact with exactly this identity. Names and sizes are checked here; hashes when it is used."""
        if not step.identity:
            return None
        folder = self.final(step)
        manifest = read_manifest(folder)
        if manifest is None or manifest.identity != step.identity or faults(folder, manifest, hashes=False):
            return None
        return Sealed(f"{step.folder}/{step.id}", manifest)

    def find_request(self, folder: str, request: str) -> Sealed | None:
        """The newest sealed artifact of a folder that answers a request, whatever machine made it."""
        answers = [s for s in self.sealed(folder) if request and s.manifest.request == request]
        return max(answers, key=lambda s: s.manifest.finished_at, default=None)

    def sealed(self, folder: str) -> Iterator[Sealed]:
        """Every sealed artifact of a kind, whole as far as names and sizes tell."""
        base = self.root / folder
        for path in sorted(base.iterdir()) if base.is_dir() else ():
            if path.name.startswith("."):
                continue
            manifest = read_manifest(path)
            if manifest and not faults(path, manifest, hashes=False):
                yield Sealed(f"{folder}/{path.name}", manifest)

    def verify(self, sealed_folder: str, role: str) -> None:
        """Read every byte of an input; raise MachineError that names the first file that is not as it was sealed."""
        folder = self.root / sealed_folder
        manifest = read_manifest(folder)
        found = ["its manifest is gone"] if manifest is None else faults(folder, manifest, hashes=True)
        if found:
            raise MachineError(f"the {role} artifact {sealed_folder} is damaged: {found[0]}", f"remove {folder} and run the stage that made it again")

    def make_folder(self, step: Step) -> None:
        """The folder of the step's kind. Raises MachineError where the store cannot be written."""
        with self._words_for_what_cannot_be_written():
            (self.root / step.folder).mkdir(parents=True, exist_ok=True)
            if not os.access(self.root / step.folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    @contextmanager
    def _words_for_what_cannot_be_written(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            fix = "give the store to uid 10001 (chown -R 10001:10001), make room, or name another with --store"
            raise MachineError(f"the store {self.root} cannot be written: {error.strerror}", fix) from None

    @contextmanager
    def lock(self, step: Step) -> Iterator[int]:
        """Hold the artifact alone; yields the descriptor, which the step's process inherits so that the lock outlives this one."""
        self.make_folder(step)
        place = self.root / step.folder / f".lock-{step.id}"
        with self._words_for_what_cannot_be_written():
            descriptor = os.open(place, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise MachineError(
                    f"another {step.stage} is writing {step.folder}/{step.id} right now", "wait for it, or stop it; the same command then goes on"
                ) from None
            yield descriptor
        finally:
            os.close(descriptor)
