"""Errors that are shown as text, never as a traceback.

CaissonError
+-- SpecError       exit 2: the spec or the command line is wrong
+-- MachineError    exit 3: this machine cannot
+-- GateRefused     exit 4: a gate refused
+-- StepFailed      exit 1: a step failed
+-- Interrupted     exit 75: stopped; the same command goes on
"""

from dataclasses import dataclass


def shown(text: str) -> str:
    """A word of a file that nobody has checked, as a terminal can print it: files hold anything."""
    return text if text.isprintable() and len(text) <= 80 else f"{text[:40]!a}..."


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in one file, with the place (1-based line and column) and, when known, the fix."""

    where: str
    line: int | None
    column: int | None
    what: str
    fix: str | None = None
    file: str = "spec.yaml"

    def __str__(self) -> str:
        at = f":{self.line}:{self.column}" if self.line else ""
        where = f" {self.where}:" if self.where else ""
        return f"{self.file}{at}:{where} {self.what}" + (f"\n    {self.fix}" if self.fix else "")


class CaissonError(Exception):
    """What is wrong, where, and what to do; `exit_code` is what the process ends with."""

    exit_code = 1

    def __init__(self, what: str, fix: str | None = None):
        self.what, self.fix = what, fix
        super().__init__(what + (f"\n    {fix}" if fix else ""))


class SpecError(CaissonError):
    """Every problem of one spec, in file order."""

    exit_code = 2

    def __init__(self, problems: list[Problem]):
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))


class UsageError(CaissonError):
    """The spec is well formed but cannot be planned as it stands, or a command's argument is wrong."""

    exit_code = 2


class MachineError(CaissonError):
    """This machine lacks what the plan needs: says the need and what was found."""

    exit_code = 3


class GateRefused(CaissonError):
    """A check that may refuse did: data, parity or evaluation."""

    exit_code = 4


class StepFailed(CaissonError):
    """A step ended with an error that no gate or machine check explains."""

    exit_code = 1


class Interrupted(CaissonError):
    """Stopped by a signal with everything needed to go on kept."""

    exit_code = 75


TOLD = (UsageError.exit_code, MachineError.exit_code, GateRefused.exit_code, Interrupted.exit_code)
"""Codes of a process that has said what is wrong: nothing is added to its words."""
