"""The section `evaluate` of a spec."""

from pydantic import Field

from schemas.base import Many, Section


class Evaluate(Section):
    """Suites against the served model."""

    suites: Many[str] = ()
    """Benchmarks and own suites."""

    gate: dict[str, str] = Field(default_factory=dict)
    """Conditions that must hold before a model is promoted."""
