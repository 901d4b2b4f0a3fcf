"""The export that serve follows: what current.json of its run names."""

from pathlib import Path

from entrypoint.run.access import refused_in_words
from entrypoint.run.promotion import put_back, read_current
from entrypoint.run.store import Store
from schemas.errors import CaissonError, GateRefused


class Followed:
    """Of one run in one store."""

    def __init__(self, store: Store, name: str):
        self.store, self.name = store, name

    def wanted(self) -> Path | None:
        """The folder of the current export; None where none is chosen, or the choice cannot be read or is not there just now."""
        try:
            current = read_current(self.store, self.name)
        except CaissonError:
            return None
        folder = self.store.root / self.name / "exports" / current.export if current else None
        return folder if folder and folder.is_dir() else None

    def verify(self, folder: Path) -> None:
        """Read every byte; raises GateRefused for an export that is not as it was sealed."""
        if found := self.store.damage(str(folder.relative_to(self.store.root))):
            raise GateRefused(f"the export {folder.name} is damaged: {found[0]}", "`caisson export SPEC` makes it again")

    def refuse(self, folder: Path, serves: Path, why: str) -> None:
        """It did not come to serve: what serves is current again. Raises MachineError where that cannot be written."""
        with refused_in_words(self.store.root):
            put_back(self.store, self.name, folder.name, serves.name, why)

    def beyond(self, keep: int) -> int:
        """How many former exports are older than the last `keep`, and still there."""
        try:
            current = read_current(self.store, self.name)
        except CaissonError:
            return 0
        return sum((self.store.root / self.name / "exports" / export).is_dir() for export in (current.previous[keep:] if current else ()))
