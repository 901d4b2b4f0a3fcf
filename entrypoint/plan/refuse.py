"""Sections that may be written already and that this version cannot carry out: refused by name before anything runs."""

from schemas.errors import UsageError
from schemas.spec import Spec


def refuse_unbuilt(spec: Spec) -> None:
    """Raise UsageError for wishes that would otherwise be passed over in silence."""
    if benchmarks := [suite for suite in spec.evaluate.suites if isinstance(suite, str)]:
        raise UsageError(
            f"evaluate.suites: benchmarks are not built yet in this version: {', '.join(benchmarks)}",
            "leave them out; rows of your own are asked: {kind: choice, name: ..., source: ...}, or kind: questions",
        )
