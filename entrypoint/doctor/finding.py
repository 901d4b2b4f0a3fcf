"""What a check found."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One check: `ok`, `warn` or `fail`, what was found, and what to do."""

    code: str
    """Stable, for programs: D and three digits; docs/doctor.md lists them."""

    check: str
    state: str
    found: str
    fix: str = ""
