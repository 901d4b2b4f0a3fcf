"""The base class and the value types that every section of the spec shares."""

import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetJsonSchemaHandler, Strict
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

T = TypeVar("T")


class Section(BaseModel):
    """A frozen section: unknown keys and loose types are errors, field docstrings are the manual."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True)


class Record(BaseModel):
    """A frozen document that one part of the program writes and another reads back from JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class _AutoSchema:
    """Shows `auto` instead of null in the JSON Schema: that is the word people write."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        shown = handler(core)
        choices = [c for c in shown.get("anyOf", [shown]) if c.get("type") != "null"]
        return {"anyOf": [{"const": "auto"}, *choices]}


def _auto_is_unset(value: Any) -> Any:
    return None if value == "auto" else value


Auto = Annotated[T | None, BeforeValidator(_auto_is_unset), _AutoSchema()]
"""`auto` in the file, None in the spec: the plan decides and prints why."""

Many = Annotated[tuple[T, ...], Strict(False)]
"""A YAML list, kept as a tuple."""


class _PercentSchema:
    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string", "pattern": r"^(100(\.0+)?|\d{1,2}(\.\d+)?)%$"}, {"type": "number", "minimum": 0, "maximum": 1}]}


def _percent(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?%", value):
        share = float(value[:-1]) / 100
    elif isinstance(value, int | float) and not isinstance(value, bool):
        share = value
    else:
        raise PydanticCustomError("percent", "must be a share such as 5% or 0.05")
    if not 0 <= share <= 1:
        raise PydanticCustomError("percent", "must be a share from 0% to 100% (0 to 1)")
    return share


def _no_number(value: Any) -> Any:
    """1 equals True, and a choice looks no further."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Recompute = Annotated[Literal[True, False, "selective"], BeforeValidator(_no_number)]
"""Whether layers are computed once more in the backward pass: all of them, none, or every second one."""

Percent = Annotated[float, BeforeValidator(_percent), _PercentSchema()]
"""A share of a whole: `5%` or 0.05."""
