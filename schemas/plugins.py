"""Section `plugins`: a user's own code, each piece named here and nowhere else. docs/plugins.md has an example of each."""

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Auto, Section

PluginKind = Literal["preprocessor", "loss", "metric", "callback", "optimizer", "trainer"]
KINDS: tuple[PluginKind, ...] = get_args(PluginKind)

PLACE = re.compile(r"(?P<source>[^:\n]*?\.py|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):(?P<name>[A-Za-z_]\w*)")
"""FILE.py:NAME or PACKAGE.MODULE:NAME, as entry points are written."""


def check_code(value: str) -> str:
    """Return where a plug-in is, or say what is wrong with its form; looks at no disk."""
    if PLACE.fullmatch(value) and value.isprintable():
        return value
    fix = f"add the name of what it defines: {value}:NAME" if PLACE.fullmatch(f"{value}:NAME") else "for example /data/focal.py:focal"
    raise PydanticCustomError("plugin", "must read FILE.py:NAME, or PACKAGE.MODULE:NAME of an installed package", {"fix": fix})


def split_code(value: str) -> tuple[str, str]:
    """A checked place as source (file or dotted module) and name."""
    source, _, name = value.rpartition(":")
    return source, name


def is_file(source: str) -> bool:
    """Whether a source is a file, not an installed module."""
    return source.endswith(".py")


def check_options(value: dict[str, Any]) -> dict[str, Any]:
    """Options by plug-in: plain values by name, or what is wrong with the first that is none."""
    for kind, given in value.items():
        if kind not in KINDS:
            raise PydanticCustomError("plugin", "has no plug-in {kind}", {"kind": kind, "fix": f"plug-ins are {', '.join(KINDS)}"})
        if not isinstance(given, dict) or not all(isinstance(name, str) and name.isidentifier() for name in given):
            raise PydanticCustomError(
                "plugin", "must have a mapping of names for {kind}", {"kind": kind, "fix": f"for example options: {{{kind}: {{gamma: 2.0}}}}"}
            )
        wrong = next((name for name, option in given.items() if not isinstance(option, bool | int | float | str)), None)
        if wrong:
            fix = "an option is a number, a text, true or false; more belongs into the plug-in"
            raise PydanticCustomError("plugin", "{kind}.{name} is no plain value", {"kind": kind, "name": wrong, "fix": fix})
    return value


Code = Annotated[str, AfterValidator(check_code)]


class Plugins(Section):
    """A user's own code: FILE.py:NAME, or PACKAGE.MODULE:NAME of what is installed in the image. docs/plugins.md."""

    preprocessor: Auto[Code] = None
    """A function of a row, in prepare: a row, several rows, or the reason of a rejection. auto: none."""

    loss: Auto[Code] = None
    """A function of the model's outputs and the labels, in place of the loss of sft or pretrain. auto: none."""

    metric: Auto[Code] = None
    """A function of the same in a validation: values by name, whose mean is logged as eval_NAME. auto: none."""

    callback: Auto[Code] = None
    """A class with methods on_step_end, on_log and other events of transformers' TrainerCallback. auto: none."""

    optimizer: Auto[Code] = None
    """A function, or a class, that makes a torch optimizer of groups of parameters; in place of train.optimizer. auto: none."""

    trainer: Auto[Code] = None
    """A class whose compute_loss, training_step, prediction_step or log stand before those of the method's trainer. auto: none."""

    options: Annotated[dict[str, Any], AfterValidator(check_options)] = {}
    """Keyword arguments by plug-in, as in {loss: {gamma: 2.0}}; names and types are checked against the code before anything runs."""

    @model_validator(mode="after")
    def _named(self) -> "Plugins":
        if other := next((kind for kind in self.options if getattr(self, kind) is None), None):
            raise PydanticCustomError("plugin", "options are given for {kind}, which is not named", {"kind": other, "fix": f"add `{other}: FILE.py:NAME`"})
        return self
