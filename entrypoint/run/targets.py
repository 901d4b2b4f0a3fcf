"""Which parts of a model an adapter goes to, by name, for any architecture."""

import difflib
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from entrypoint.run.unadapted import moved_names, unadapted
from schemas.errors import UsageError

ROUTERS = ("gate", "router", "shared_expert_gate")
"""Last names of linear layers that choose experts: trained beside frozen ones they move tokens to experts that do not know them."""

HEAD = "score"
"""The layer that transformers puts in place of the output head of a model that judges, in every architecture."""

NEAREST = 3
"""Names that a refusal offers."""


def linear_layers(model: Any) -> list[str]:
    """Every linear layer but the output head, of words or of a judgement, and routers; GPT-2's transposed ones and 4-bit ones included.

    Nor what entrypoint.run.unadapted names, with reasons.
    """
    apart = {id(model.get_output_embeddings()), id(getattr(model, HEAD, None))} | unadapted(model)
    return [name for name, module in _linear(model) if id(module) not in apart and name.rpartition(".")[2] not in ROUTERS]


def expert_parameters(model: Any) -> list[str]:
    """Weights of experts that are held as one tensor of shape (experts, outputs, inputs) a layer."""
    return [name for name, parameter in model.named_parameters() if parameter.dim() == 3 and ".experts." in name]


def as_suffixes(chosen: list[str], model: Any) -> tuple[list[str], list[str]]:
    """The shortest names that peft finds the chosen layers by, and full names that those would find too many."""
    suffixes = sorted({name.rpartition(".")[2] for name in chosen})
    wanted = set(chosen)
    return suffixes, [name for name, _ in _linear(model) if name.rpartition(".")[2] in suffixes and name not in wanted]


def check_targets(model: Any, targets: Iterable[str]) -> None:
    """Raises UsageError for a name that no linear layer has, or that only the output head has, or that peft takes for another's."""
    linear = dict(_linear(model))
    head = model.get_output_embeddings()
    for target in targets:
        found = [module for name, module in linear.items() if _named(name, target)]
        if target.rpartition(".")[2] in moved_names(model):
            raise UsageError(
                f"adapter.targets: peft takes {target} of this architecture for its experts, and leaves the layers of that name out",
                "leave it out; adapters of experts come with adapter.experts: true",
            )
        if found and any(module is not head for module in found):
            continue
        if found:
            raise UsageError(f"adapter.targets: {target} is the output head, whose loss reads its weight directly", f"write modules_to_save: [{target}]")
        raise UsageError(f"adapter.targets: the model has no linear layer named {target}", _nearest(target, linear))


def check_modules(model: Any, names: Iterable[str]) -> None:
    """Raises UsageError for a module that the model does not have."""
    modules = {name: module for name, module in model.named_modules() if name and next(module.parameters(), None) is not None}
    for wanted in names:
        if not any(_named(name, wanted) for name in modules):
            raise UsageError(f"adapter.modules_to_save: the model has no module named {wanted}", _nearest(wanted, modules))


def token_ids(tokenizer: Any, tokens: Iterable[str]) -> list[int]:
    """Raises UsageError for text that is not one token of the vocabulary."""
    vocabulary = tokenizer.get_vocab()
    for token in tokens:
        if token not in vocabulary:
            near = difflib.get_close_matches(token, tokenizer.all_special_tokens + list(tokenizer.get_added_vocab()), NEAREST, 0.4)
            fix = f"tokens that were added to it and look like that: {', '.join(near)}" if near else "write a token as the tokenizer's vocabulary has it"
            raise UsageError(f"adapter.trainable_tokens: {token} is no token of the model's vocabulary", fix)
    return sorted({int(vocabulary[token]) for token in tokens})


def thaw(model: Any, layers: int, patterns: Iterable[str]) -> None:
    """Leave the last decoder layers and what the patterns name to train, nothing else. Raises UsageError for a pattern that names nothing."""
    parameters = dict(model.named_parameters())
    for parameter in parameters.values():
        parameter.requires_grad_(False)
    for layer in decoder_layers(model)[-layers:] if layers else []:
        for parameter in layer.parameters():
            parameter.requires_grad_(True)
    for pattern in patterns:
        found = [name for name in parameters if fnmatchcase(name, pattern)]
        if not found:
            raise UsageError(f"adapter.patterns: {pattern} matches no weight of the model", _nearest(pattern.replace("*", "").strip("."), parameters))
        for name in found:
            parameters[name].requires_grad_(True)


def decoder_layers(model: Any) -> list[Any]:
    """The decoder layers in their order, as the model's own class names them."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    names = set(base._no_split_modules or ())
    found = [module for module in base.modules() if type(module).__name__ in names]
    assert found, f"{type(base).__name__} names no layers"
    return found


def _linear(model: Any) -> list[tuple[str, Any]]:
    import torch
    from transformers.pytorch_utils import Conv1D

    return [(name, module) for name, module in model.named_modules() if isinstance(module, torch.nn.Linear | Conv1D)]


def _named(name: str, target: str) -> bool:
    """As peft matches."""
    return name == target or name.endswith(f".{target}")


def _nearest(wanted: str, names: Iterable[str]) -> str:
    """A fix: the names that look most like it, or all where none does."""
    parts = sorted({piece for name in names for piece in (name.rpartition(".")[2], name.removesuffix(".weight").rpartition(".")[2]) if not piece.isdigit()})
    near = difflib.get_close_matches(wanted.rpartition(".")[2], parts, NEAREST, 0.5)
    return f"the nearest that it has: {', '.join(near)}" if near else f"it has: {', '.join(parts[:12])}"
