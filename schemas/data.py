"""Section `data`: the rows and what may happen to them."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Auto, Many, Percent, Section
from schemas.model import Source


class Rows(Section):
    """One source of rows."""

    source: Source
    """A file, a folder, a glob, hf://ORG/NAME or ms://ORG/NAME."""

    format: Literal["auto", "messages"] = "auto"
    """How a row is laid out; auto looks at the rows and says what it found."""


def _kind_of_validation(value: Any) -> str:
    return "rows" if isinstance(value, list | tuple) else "share"


Validation = Annotated[
    Annotated[Percent, Tag("share")] | Annotated[Many[Rows], Field(min_length=1), Tag("rows")],
    Discriminator(_kind_of_validation),
]


class Data(Section):
    """Training and validation rows, and the gate that they pass."""

    train: Annotated[Many[Rows], Field(min_length=1)]
    """Where the training rows come from, in this order."""

    validation: Validation = 0.05
    """A share held back from the training rows, or a list of sources like `train`; 0% for none. Rows held back depend on their content and the seed alone."""

    max_length: Auto[Annotated[int, Field(ge=16, le=1_048_576)]] = None
    """Longest row in tokens. auto: the longest row, at most what the model's positions allow."""

    too_long: Literal["error", "drop"] = "error"
    """What happens to rows over max_length: refuse the run, or leave them out and count them."""

    packing: Auto[bool] = None
    """Lay several rows into one sequence, none of which sees another: no time is spent on padding. auto: where method and model allow it."""

    pack_length: Auto[Annotated[int, Field(ge=16, le=1_048_576)]] = None
    """Tokens of one pack. auto: the longest row, or more where a step learns from much more than that."""

    max_rejected: Percent = 0.01
    """More bad rows than this share refuse the run."""

    @model_validator(mode="after")
    def _pack(self) -> "Data":
        if self.pack_length is not None and self.packing is False:
            raise PydanticCustomError("packing", "rows are not packed, so packs have no length", {"fix": "take `pack_length` out, or `packing: false`"})
        if self.pack_length is not None and self.max_length is not None and self.pack_length < self.max_length:
            given = {"pack": self.pack_length, "row": self.max_length, "fix": f"write pack_length: {self.max_length} or more"}
            raise PydanticCustomError("packing", "a pack of {pack} tokens cannot hold a row of {row}", given)
        return self
