"""Sections that may be written already and that this version cannot carry out: refused by name before anything runs."""

from schemas.errors import UsageError
from schemas.spec import Spec


def refuse_unbuilt(spec: Spec) -> None:
    """Raise UsageError for wishes that would otherwise be passed over in silence."""
    if spec.evaluate.suites:
        raise UsageError(
            "evaluate.suites: further suites are not built yet in this version: the run's own validation rows are asked",
            "leave `suites` out; a gate may name what the suite `own` measures",
        )
