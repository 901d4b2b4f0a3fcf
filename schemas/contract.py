"""What each plug-in has to look like, and whether what a file defines does."""

import difflib
from dataclasses import dataclass
from typing import Any

from schemas.code import Definition, Parameter
from schemas.plugins import PluginKind

FUNCTIONS: dict[PluginKind, tuple[str, ...]] = {
    "preprocessor": ("row",),
    "loss": ("outputs", "labels", "num_items_in_batch"),
    "metric": ("outputs", "labels"),
    "optimizer": ("params", "lr"),
}
"""Parameters that come first, by name; what follows them is an option."""

GIVES = {"preprocessor": "dict | list[dict] | str", "loss": "torch.Tensor", "metric": "dict[str, torch.Tensor]", "optimizer": "torch.optim.Optimizer"}

EVENT = ("self", "args", "state", "control")
EVENTS = (
    "on_train_begin", "on_train_end", "on_epoch_begin", "on_epoch_end", "on_step_begin", "on_pre_optimizer_step", "on_optimizer_step",
    "on_substep_end", "on_step_end", "on_prediction_step", "on_evaluate", "on_log", "on_save",
)  # fmt: skip
"""Of transformers' TrainerCallback those that a training has."""

STATE = {"state_dict": ("self",), "load_state_dict": ("self", "state")}

HOOKS: dict[str, tuple[str, ...]] = {
    "compute_loss": ("self", "model", "inputs", "return_outputs", "num_items_in_batch"),
    "training_step": ("self", "model", "inputs", "num_items_in_batch"),
    "prediction_step": ("self", "model", "inputs", "prediction_loss_only", "ignore_keys"),
    "log": ("self", "logs", "start_time"),
}
"""Methods of a trainer that a plug-in may stand before."""

TYPES: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}
"""Annotations that options are checked against."""


@dataclass(frozen=True)
class Misfit:
    """Why a definition is not the plug-in that it is named as."""

    line: int
    what: str
    fix: str


def right_signature(kind: PluginKind) -> str:
    """As a user would begin to write it."""
    if kind == "callback":
        return f"class NAME: def on_step_end({', '.join(EVENT)}, **kwargs)"
    if kind == "trainer":
        return f"class NAME: def compute_loss({', '.join(HOOKS['compute_loss'])})"
    return f"def NAME({', '.join(FUNCTIONS[kind])}) -> {GIVES[kind]}"


def misfit(kind: PluginKind, name: str, found: Definition, options: dict[str, Any]) -> Misfit | None:
    """The first thing that is wrong with a definition for a kind of plug-in; None where it fits."""
    right = f"write {right_signature(kind).replace('NAME', name)}"
    if found.kind == "name":
        return Misfit(found.line, f"{name} is not defined here by def or class, so its signature cannot be read without running it", right)
    if kind in ("callback", "trainer"):
        if found.kind != "class":
            return Misfit(found.line, f"{name} is a {found.kind}, a {kind} is a class", right)
        return (_callback if kind == "callback" else _trainer)(name, found, right) or _options(
            name, found, found.parameters if kind == "callback" else found.attributes, options
        )
    if found.kind == "async function" or (found.kind == "class" and kind != "optimizer"):
        return Misfit(found.line, f"{name} is {'an' if found.kind[0] == 'a' else 'a'} {found.kind}, a {kind} is a function", right)
    first = FUNCTIONS[kind]
    if found.kind == "class" and "__init__" not in found.methods:
        return Misfit(found.line, f"class {name} has no __init__ of its own, so what it takes cannot be read", f"write __init__(self, {', '.join(first)})")
    return _begins(name, found, first, right) or _options(name, found, found.parameters[len(first) :], options)


def _begins(name: str, found: Definition, first: tuple[str, ...], right: str) -> Misfit | None:
    """Whether the parameters start with these, by name: a swap of two is found too."""
    given = tuple(p.name for p in found.parameters if not p.keyword_only)
    if given[: len(first)] == first:
        return None
    return Misfit(found.line, f"{name} takes ({', '.join(given)}), it must take ({', '.join(first)})", right)


def _method(name: str, method: str, found: Definition, first: tuple[str, ...], more: bool) -> Misfit | None:
    right = f"write def {method}({', '.join(first)}{', **kwargs' if more else ''})"
    if found.kind != "function":
        return Misfit(found.line, f"{name}.{method} is an {found.kind}", right)
    if wrong := _begins(f"{name}.{method}", found, first, right):
        return wrong
    if more and not found.takes_any:
        return Misfit(found.line, f"{name}.{method} has no **kwargs, in which transformers hands over the model and more", right)
    extra = next((p.name for p in found.parameters[len(first) :] if p.required), None)
    return Misfit(found.line, f"{name}.{method} takes {extra}, which nobody gives it", right) if extra else None


def _callback(name: str, found: Definition, right: str) -> Misfit | None:
    for method, inner in found.methods.items():
        if method in STATE:
            wrong = _method(name, method, inner, STATE[method], False)
        elif method.startswith("on_"):
            if method not in EVENTS:
                near = difflib.get_close_matches(method, EVENTS, 1)
                return Misfit(inner.line, f"{name}.{method} is no event", f"did you mean {near[0]}?" if near else f"events are {', '.join(EVENTS)}")
            wrong = _method(name, method, inner, EVENT, True)
        else:
            continue
        if wrong:
            return wrong
    if not any(method in EVENTS for method in found.methods):
        return Misfit(found.line, f"class {name} has no method for an event", right)
    if len(set(STATE) & set(found.methods)) == 1:
        return Misfit(found.line, f"class {name} has one of state_dict and load_state_dict", "write both, or neither")
    return None


def _trainer(name: str, found: Definition, right: str) -> Misfit | None:
    if found.bases:
        return Misfit(found.line, f"class {name} has a base: it stands before the method's trainer, whichever that is", f"write class {name}: and call super()")
    for method, inner in found.methods.items():
        if method in HOOKS:
            if wrong := _method(name, method, inner, HOOKS[method], False):
                return wrong
        elif not method.startswith("_") or method.startswith("__"):
            return Misfit(inner.line, f"{name}.{method} is none of {', '.join(HOOKS)}", "name a method of your own with a leading underscore")
    return None if set(HOOKS) & set(found.methods) else Misfit(found.line, f"class {name} has none of the methods {', '.join(HOOKS)}", right)


def _options(name: str, found: Definition, takes: tuple[Parameter, ...], options: dict[str, Any]) -> Misfit | None:
    known = {p.name: p for p in takes}
    listed = f"it has {', '.join(known)}" if known else "it has none"
    for option, value in options.items():
        if option not in known:
            if found.takes_any:
                continue
            near = difflib.get_close_matches(option, known, 1)
            return Misfit(found.line, f"{name} has no option {option}", f"did you mean {near[0]}?" if near else listed)
        wanted = TYPES.get(known[option].annotation)
        if wanted and (not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted)):
            return Misfit(found.line, f"option {option} of {name} is {known[option].annotation}, not {value!r}", "write a value of that type")
    missing = next((p.name for p in takes if p.required and p.name not in options), None)
    return Misfit(found.line, f"{name} needs the option {missing}", f"write it under plugins.options, as in {{{missing}: VALUE}}") if missing else None
