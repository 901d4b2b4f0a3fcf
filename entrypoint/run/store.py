"""The store: where artifacts lie, which are sealed, and who writes one right now."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from entrypoint.run.access import CHOWN, IN_THE_WAY, refusal
from entrypoint.run.seal import faults, read_manifest
from schemas.errors import GateRefused, MachineError
from schemas.manifest import FILE_NAME, Sealed
from schemas.plan import Step

MADE_BY = {
    "model": "fetch",
    "data": "fetch",
    "teacher": "fetch",
    "preprocessor": "fetch",
    "plugins": "fetch",
    "suites": "fetch",
    "prepared": "prepare",
    "answers": "prepare",
    "trained": "train",
    "merged": "export",
    "exported": "export",
}
"""The stage that makes what is read in a role."""


def set_aside(folder: Path) -> Path:
    """Rename a damaged artifact: out of the way, not gone. Returns where it is; another run may have done it already."""
    aside = folder.with_name(f".damaged-{folder.name}-{time.time_ns() // 10**6}")
    with suppress(FileNotFoundError):
        folder.rename(aside)
    return aside


class Held(MachineError):
    """Another process writes the artifact right now."""


class Store:
    """One folder with every artifact of every run."""

    def __init__(self, root: Path):
        self.root = root

    def final(self, step: Step) -> Path:
        """Where the step's artifact is once it is sealed."""
        return self.root / step.folder / step.id

    def partial(self, step: Step) -> Path:
        """Where it grows until then; the name is the same in every attempt, so that work goes on."""
        return self.root / step.folder / f".partial-{step.work_id}"

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
        """Read every byte of an input. One that is not as it was sealed is set aside, so that the stage that made it makes it again; the error
        names the first file and that stage. Raises GateRefused for an export, which would have been served, MachineError for others."""
        folder = self.root / sealed_folder
        refused = GateRefused if role == "exported" else MachineError
        found = self.damage(sealed_folder)
        if not found:
            return
        what = f"the {role} artifact {sealed_folder} is damaged: {found[0]}"
        again = f"`docker compose run --rm {MADE_BY[role]}`, or `caisson {MADE_BY[role]}`, makes it again; then run this command again"
        try:
            aside = set_aside(folder)
        except OSError as error:
            raise refused(f"{what}; it cannot be set aside: {error.strerror}", f"remove {folder}; {again}") from None
        raise refused(f"{what}; it was set aside as {aside.name}", again)

    def damage(self, sealed_folder: str) -> list[str]:
        """What is not as it was sealed, by every byte. Raises MachineError where this user may not read it."""
        folder = self.root / sealed_folder
        manifest = read_manifest(folder)
        try:
            if manifest:
                return faults(folder, manifest, hashes=True)
            (folder / FILE_NAME).read_bytes()
            return ["its manifest cannot be understood"]
        except FileNotFoundError:
            return ["its manifest is gone"]
        except OSError as error:
            raise MachineError(f"{error.filename or folder} cannot be read: {error.strerror}", CHOWN) from None

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
            if error.errno in IN_THE_WAY and (told := refusal(error, self.root)):
                raise told from None
            fix = "give the store to uid 10001 (chown -R 10001:10001), make room, or name another with --store"
            raise MachineError(f"the store {self.root} cannot be written: {error.strerror}", fix) from None

    @contextmanager
    def lock(self, step: Step) -> Iterator[int]:
        """Hold the artifact alone; yields the descriptor, which the step's process inherits so that the lock outlives this one."""
        self.make_folder(step)
        while True:
            with self._words_for_what_cannot_be_written():
                descriptor = os.open(self._lock_file(step), os.O_RDWR | os.O_CREAT, 0o644)
            try:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise Held(
                        f"another {step.stage} is writing {step.folder}/{step.id} right now", "wait for it, or stop it; the same command then goes on"
                    ) from None
                if self._is_lock(step, descriptor):  # else it was removed between the two calls, and locks nothing
                    yield descriptor
                    return
            finally:
                os.close(descriptor)

    def check_lock(self, step: Step, descriptor: int) -> None:
        """Before an artifact is sealed. Raises MachineError where the lock's file was removed while it was held: another run may have
        taken a new one and be writing into the same folder."""
        if not self._is_lock(step, descriptor):
            raise MachineError(
                f"{step.stage}: {self._lock_file(step)} was removed or replaced while it was held: another run may have written into {self.partial(step)}",
                "leave lock files alone: a lock ends with its process. See that no other run is on, then run the same command again",
            )

    def _lock_file(self, step: Step) -> Path:
        return self.root / step.folder / f".lock-{step.work_id}"

    def _is_lock(self, step: Step, descriptor: int) -> bool:
        """Whether the open file is still the one that others find under its name."""
        try:
            found = self._lock_file(step).stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(found, os.fstat(descriptor))
