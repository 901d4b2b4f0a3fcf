"""The section `evaluate` of a spec."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from schemas.base import Section
from schemas.gate import EXAMPLE, ConditionError, read_condition
from schemas.suite import FURTHER, Suites, name_of


def _condition(value: Any) -> Any:
    """The text of a condition that can be read; raises PydanticCustomError with the place of what cannot."""
    if not isinstance(value, str):
        fix = f'write ">= {value}"' if isinstance(value, int | float) and not isinstance(value, bool) else None
        raise PydanticCustomError("condition", "must be a condition such as {example}", {"example": EXAMPLE, "fix": fix})
    try:
        read_condition(value)
    except ConditionError as error:
        raise PydanticCustomError("condition", "{what}", {"what": error.what, "fix": error.fix, "at": error.at}) from None
    return value


Condition = Annotated[str, BeforeValidator(_condition)]


class Evaluate(Section):
    """Suites against the served model."""

    suites: Suites = ()
    """What is asked beside the validation rows: benchmarks by their names, such as mmlu, or as mappings with `kind: benchmark`, and rows of your
    own as mappings with `kind`, `name` and `source`."""

    gate: dict[str, Condition] = Field(default_factory=dict)
    """Conditions that must hold before a model is promoted, by metric: `quiz: ">= base - 1%"`, `own.exact_match: ">= 0.9 and >= base"`. A bound is a
    number, a percentage, or base with `+`, `-` or `*` and a number; a score goes from 0 to 1."""

    def suite_metrics(self) -> dict[str, tuple[str, ...]]:
        """Every suite by the name that a gate calls it, with its further metrics; the run's own validation rows apart."""
        return {name_of(suite): FURTHER["benchmark" if isinstance(suite, str) else suite.kind] for suite in self.suites}
