"""The base class and the value types that every section of the spec shares."""

import re
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, Strict
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

T = TypeVar("T")


class Section(BaseModel):
    """A frozen section: unknown keys and loose types are errors, field docstrings are the manual."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


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
        return {"anyOf": [{"type": "string", "pattern": r"^\d+(\.\d+)?%$"}, {"type": "number", "minimum": 0, "maximum": 1}]}


def _percent(value: Any) -> Any:
    if isinstance(value, str):
        if not re.fullmatch(r"\d+(\.\d+)?%", value):
            raise PydanticCustomError("percent", "must be a share such as 5% or 0.05")
        return float(value[:-1]) / 100
    return value


Percent = Annotated[float, BeforeValidator(_percent), Field(ge=0, le=1), _PercentSchema()]
"""A share of a whole: `5%` or 0.05."""
