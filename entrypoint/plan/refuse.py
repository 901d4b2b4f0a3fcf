"""Sections that may be written already and that this version cannot carry out: refused by name before anything runs."""

from entrypoint.plan.suites import wanted_suites
from schemas.benchmarks import FETCHED_FROM, NOT_ASKED
from schemas.errors import UsageError
from schemas.spec import Spec
from schemas.suite import Benchmark


def refuse_unbuilt(spec: Spec) -> None:
    """Raise UsageError for wishes that would otherwise be passed over in silence."""
    for suite in wanted_suites(spec):
        if isinstance(suite, Benchmark) and suite.name in NOT_ASKED:
            raise UsageError(f"evaluate.suites: {suite.name} is not built in this version: {NOT_ASKED[suite.name]}", f"asked are {', '.join(FETCHED_FROM)}")
