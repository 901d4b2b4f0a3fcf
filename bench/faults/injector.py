"""The injector from outside: arm a fault, put it before a command, read back which calls the run made. inject.c says what it does."""

from dataclasses import dataclass
from pathlib import Path

PROGRAM = Path("/faults/inject")
KILLED = 137


@dataclass(frozen=True)
class Call:
    """One call inside the scope, in the order of the run."""

    kind: str
    k: int
    """It is the k-th of its kind."""
    bytes: int
    fault: bool
    path: str
    to: str


class Injector:
    """One log, used by one run at a time."""

    def __init__(self, folder: Path, program: Path = PROGRAM):
        self.program, self.log, self.attic = program, folder / "calls", folder / "attic"
        self.attic.mkdir(parents=True, exist_ok=True)
        self.options: list[str] = []

    def arm(self, scope: str, kind: str = "any", at: int = 0, action: str = "nothing", error: int = 0, disk: str = "", lost: str = "") -> None:
        """The `at`-th call of `kind` on a path that contains `scope` meets `action`.

        With `disk` the error stays, for all of that disk; with `lost` the kill is a power cut, for what was done below names that end so.
        """
        self.options = ["--scope", scope, "--kind", kind, "--at", str(at), "--action", action, "--error", str(error)]
        self.options += (["--disk", disk] if disk else []) + (["--cut", str(self.attic), "--lost", lost] if lost else [])

    def disarm(self) -> None:
        """Nothing is counted and nothing fails."""
        self.arm("")

    def before(self, command: list[str]) -> list[str]:
        """The command, run by the injector."""
        return [str(self.program), "--log", str(self.log), *self.options, "--", *command]

    def calls(self) -> list[Call]:
        """What the last run did inside the scope."""
        found = []
        for line in self.log.read_text(encoding="utf-8").splitlines():
            kind, k, size, fault, path, to = line.split("\t")
            found.append(Call(kind, int(k), int(size), bool(fault), path, to))
        return found
