"""Section `data`: the rows and what may happen to them."""

import difflib
import re
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Auto, Many, Percent, Section
from schemas.model import RowSource

Format = Literal["auto", "messages", "sharegpt", "alpaca", "completion", "text", "preference", "kto", "prompt"]
TooLong = Literal["error", "drop", "truncate", "split"]
NamedTemplate = Literal["chatml", "llama3", "zephyr", "alpaca"]

NAMED_TEMPLATES: tuple[str, ...] = get_args(NamedTemplate)


class Columns(Section):
    """Names of the keys in the rows, by the name that the format wants: `prompt: frage`. auto: the same name."""

    messages: Auto[str] = None
    """Of messages, preference and kto."""

    conversations: Auto[str] = None
    """Of sharegpt."""

    instruction: Auto[str] = None
    """Of alpaca."""

    input: Auto[str] = None
    """Of alpaca."""

    output: Auto[str] = None
    """Of alpaca."""

    history: Auto[str] = None
    """Of alpaca."""

    prompt: Auto[str] = None
    """Of completion, preference, kto and prompt."""

    completion: Auto[str] = None
    """Of completion and kto."""

    text: Auto[str] = None
    """Of text."""

    chosen: Auto[str] = None
    """Of preference."""

    rejected: Auto[str] = None
    """Of preference."""

    label: Auto[str] = None
    """Of kto."""

    reference: Auto[str] = None
    """Of prompt."""

    system: Auto[str] = None
    """A system message, of every format but messages and text."""

    tools: Auto[str] = None
    """Descriptions of tools, of conversations."""


class Rows(Section):
    """One source of rows."""

    source: RowSource
    """A file, a folder, a glob, hf://ORG/NAME or ms://ORG/NAME.

    Behind a repository may stand a path or a glob for some of its files: hf://ORG/NAME/data/train-*.parquet."""

    format: Format = "auto"
    """How a row is laid out; auto looks at the rows and says what it found."""

    columns: Columns = Columns()
    """Names of the keys, where the rows have others than the format."""

    max_rows: Auto[Annotated[int, Field(ge=1)]] = None
    """Rows taken of this source at most. Which ones depends on their content and the seed alone. auto: all."""


class TrainRows(Rows):
    """One source of training rows."""

    weight: Annotated[float, Field(gt=0, le=100)] = 1.0
    """How often a row is seen in an epoch. 2: every row twice; 0.5: half of the rows; 2.5: every row twice and half of them a third time. By content and seed."""


def check_template(value: str) -> str:
    """The template's name or path, or what is wrong with it."""
    if value in NAMED_TEMPLATES:
        return value
    if "://" in value or not re.search(r"[/.]", value):
        close = difflib.get_close_matches(value, NAMED_TEMPLATES, 1)
        fix = f"did you mean `{close[0]}`?" if close else "a path has a slash in it, as in /data/template.jinja"
        raise PydanticCustomError("template", "must be one of auto, {names}, or the path of a Jinja file", {"names": ", ".join(NAMED_TEMPLATES), "fix": fix})
    return value


def _kind_of_validation(value: Any) -> str:
    return "rows" if isinstance(value, list | tuple) else "share"


Validation = Annotated[
    Annotated[Percent, Tag("share")] | Annotated[Many[Rows], Field(min_length=1), Tag("rows")],
    Discriminator(_kind_of_validation),
]


class Data(Section):
    """Training and validation rows, and the gate that they pass."""

    train: Annotated[Many[TrainRows], Field(min_length=1)]
    """Where the training rows come from, in this order."""

    validation: Validation = 0.05
    """A share held back from the training rows, or a list of sources like `train`; 0% for none. Rows held back depend on their content and the seed alone."""

    max_length: Auto[Annotated[int, Field(ge=16, le=1_048_576)]] = None
    """Longest row in tokens. auto: the longest row, at most what the model's positions allow."""

    too_long: TooLong = "error"
    """What happens to rows over max_length: refuse the run, leave them out, cut them so that the answer's end token stays, or split them: raw text anywhere, a
    conversation between turns. All are counted."""

    packing: Auto[bool] = None
    """Lay several rows into one sequence, none of which sees another: no time is spent on padding. auto: where method and model allow it."""

    pack_length: Auto[Annotated[int, Field(ge=16, le=1_048_576)]] = None
    """Tokens of one pack. auto: the longest row, or more where a step learns from much more than that."""

    max_rejected: Percent = 0.01
    """More bad rows than this share refuse the run."""

    deduplicate: bool = False
    """Leave out rows whose content came before in the same split, in any source. Repeats are counted either way."""

    streaming: bool = False
    """Begin to train once the first rows are prepared; the rest is prepared meanwhile. Wants max_length, train.max_steps, and validation rows of their own or none."""

    part_tokens: Auto[Annotated[int, Field(ge=256, le=1_000_000_000)]] = None
    """Tokens of one part of rows that are streamed: training begins when the first is prepared, and rows are shuffled within each. auto: 2 million."""

    template: Auto[Annotated[str, AfterValidator(check_template)]] = None
    """The chat template: chatml, llama3, zephyr, alpaca, or the path of a Jinja file. It goes with the tuned model. auto: the model's own."""

    @model_validator(mode="after")
    def _pack(self) -> "Data":
        if self.pack_length is not None and self.packing is False:
            raise PydanticCustomError("packing", "rows are not packed, so packs have no length", {"fix": "take `pack_length` out, or `packing: false`"})
        if self.pack_length is not None and self.max_length is not None and self.pack_length < self.max_length:
            given = {"pack": self.pack_length, "row": self.max_length, "fix": f"write pack_length: {self.max_length} or more"}
            raise PydanticCustomError("packing", "a pack of {pack} tokens cannot hold a row of {row}", given)
        if self.part_tokens is not None and not self.streaming:
            raise PydanticCustomError("streaming", "only rows that are streamed come in parts", {"fix": "write streaming: true, or take `part_tokens` out"})
        return self
