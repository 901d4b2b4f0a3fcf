"""Sections that may be written already and that this version cannot carry out: refused by name before anything runs."""

from schemas.errors import UsageError
from schemas.spec import Spec


def refuse_unbuilt(spec: Spec) -> None:
    """Raise UsageError for wishes that would otherwise be passed over in silence."""
    if spec.evaluate.suites or spec.evaluate.gate:
        raise UsageError(
            "evaluate: suites and gates are not built yet in this version: the stage that would ask the questions is missing",
            "leave the section out, or write evaluate: {suites: [], gate: {}}",
        )
