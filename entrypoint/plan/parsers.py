"""Which parser of an engine reads a model's tool calls, and which its thinking."""

import difflib
from collections.abc import Mapping
from typing import Any, Literal

from entrypoint.plan.engine_choice import Choice
from entrypoint.plan.tables import ENGINES, PARSERS
from schemas.errors import UsageError
from schemas.facts import Facts
from schemas.plan import Decision
from schemas.spec import Spec

NONE = "none"
"""In the spec: answers as the model writes them."""

Kind = Literal["tool_parser", "reasoning_parser"]


def decide_parser(kind: Kind, spec: Spec, choice: Choice, facts: Facts, config: Mapping[str, Any] | None, decisions: list[Decision]) -> str | None:
    """The engine's name of it, None for none. Raises UsageError for a name that the engine does not know, with the nearest that it does."""
    wanted: str | None = getattr(spec.serve, kind)
    field = f"serve.{kind}"
    if wanted == NONE:
        return None
    if wanted:
        _check_name(field, wanted, choice, ENGINES[choice.engine][kind])
        decisions.append(Decision(field=field, value=wanted, why="set in the spec"))
        return wanted
    model_type, marks = (config or {}).get("model_type"), facts.template_marks
    if model_type is None or marks is None:
        return None  # decided once the model is there
    row = next((row for row in PARSERS[kind] if model_type in row["types"] and row["mark"] in marks), None)
    if row is None:
        return None
    found: str | None = row[choice.engine]
    why = f"a {model_type} whose chat template has {row['mark']}"
    if found is None:
        why = f"{why}, for which {choice.name} has no parser of its own"
    decisions.append(Decision(field=field, value=found or NONE, why=why, source=row["source"]))
    return found


def _check_name(field: str, wanted: str, choice: Choice, known: list[str]) -> None:
    if wanted in known:
        return
    close = difflib.get_close_matches(wanted, [*known, NONE], 1)
    other: list[str] = [name for name, table in ENGINES.items() if name != choice.engine and wanted in table[field.partition(".")[2]]]
    fix = f"did you mean `{close[0]}`?" if close else f"known: {', '.join([*known, NONE])}"
    raise UsageError(f"{field}: {choice.name} has no {wanted[:60]!r}", fix + (f" engine: {other[0]} has it" if other else ""))
