"""Whether a gate's conditions are about something that the evaluation of the same spec measures."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

from schemas.evaluation import OWN
from schemas.gate import ConditionError, check_kind, read_condition
from schemas.method import Pretrain
from schemas.metrics import metric_called, own_metrics
from schemas.spec import Spec

NO_VALIDATION = "data.validation keeps no rows to ask"


@dataclass(frozen=True)
class GateProblem:
    """What is wrong with one condition; `at` is the character of its text, None where the name is wrong."""

    metric: str
    at: int | None
    what: str
    fix: str | None


def known_metrics(spec: Spec) -> tuple[str, ...]:
    """Every name that a gate of this spec may use."""
    own = own_metrics(spec.method.rows, raw=isinstance(spec.method, Pretrain)) if spec.data.validation else ()
    suites = [name for suite, further in spec.evaluate.suite_metrics().items() for name in (suite, *(f"{suite}.{metric}" for metric in further))]
    return (*own, *suites)


def gate_problems(spec: Spec) -> Iterator[GateProblem]:
    """Of each condition the first, in the order of the file."""
    known = known_metrics(spec)
    for metric, condition in spec.evaluate.gate.items():
        if metric not in known:
            yield GateProblem(metric, None, *_unknown(metric, known, bool(spec.data.validation)))
            continue
        try:
            check_kind(read_condition(condition), share=metric_called(metric.partition(".")[2]).share)
        except ConditionError as error:
            yield GateProblem(metric, error.at, error.what, error.fix)


def _unknown(metric: str, known: tuple[str, ...], has_validation: bool) -> tuple[str, str | None]:
    what = "is nothing that this spec measures"
    if metric.partition(".")[0] == OWN and not has_validation:
        return f"{what}: {NO_VALIDATION}", "write a share such as data.validation: 5%"
    endings = {name.partition(".")[2]: name for name in known if "." in name}
    close = difflib.get_close_matches(metric, known, 1) or [endings[found] for found in difflib.get_close_matches(metric, endings, 1)]
    if close:
        return what, f"did you mean `{close[0]}`?"
    shown = ", ".join(name for name in known if name != OWN)
    return what, f"measured are {shown}; others are added to evaluate.suites" if shown else "add a suite to evaluate.suites"
