"""A model on no device -> its anatomy: every parameter once, equal layers together."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from entrypoint.run.model_parts import KINDS, Parts, parts_of
from entrypoint.run.targets import ROUTERS
from entrypoint.run.unadapted import unadapted
from schemas.anatomy import Anatomy, Experts, LayerKind, LinearMap, Part, Table, Tower

ACTIVE = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_top_k", "moe_k", "top_k_experts", "num_selected_experts", "router_top_k")
"""What configs call the experts that compute one token."""

EXPERTS = ".experts."
"""In the name of what belongs to one of several experts, not to a shared one."""


def dissect(model: Any) -> tuple[Anatomy, dict[LayerKind, int]]:
    """Count a model, and say where the last layer of each kind is; tied weights, one tensor under two names, count once."""
    import transformers

    parts = parts_of(model)
    config = parts.config
    if hasattr(type(config), "per_layer_config"):
        config.allow_global_per_layer_attribute_access = True  # sizes that differ from layer to layer: the common one
    seen: set[int] = set()
    bare = unadapted(model)
    tables = _tables(model, parts, seen)
    head = _head(model, seen)
    each = _layers(parts, seen, bare)
    layers = tuple(kind.model_copy(update={"count": count}) for kind, count in Counter(each).items())
    towers = tuple(_tower(name, module, seen) for name, module in parts.towers)
    outside = tuple(_maps(parts.rest(), seen, bare))
    total = sum(parameter.numel() for parameter in model.parameters())
    width = next((table.width for table in tables), 0)
    found = Anatomy(
        class_name=type(model).__name__,
        model_type=str(model.config.model_type),
        transformers=transformers.__version__,
        dtype=str(config.dtype or model.config.dtype or "").removeprefix("torch."),
        parameters=total,
        layers=layers,
        tables=tables,
        head=head,
        outside=outside,
        others=sum(parameter.numel() for parameter in _unseen(model, seen)),
        towers=towers,
        hidden=_number(config, "hidden_size") or width,
        vocabulary=head.outputs if head else next((table.rows for table in tables), 0) or _number(config, "vocab_size"),
        heads=_number(config, "num_attention_heads"),
        kv_heads=_number(config, "num_key_value_heads") or _number(config, "num_attention_heads"),
        head_dim=_number(config, "qk_head_dim") or _number(config, "head_dim") or _divided(config),
        window=_number(config, "sliding_window") if any("sliding" in kind.kind for kind in layers) else 0,
        experts=_experts(config, layers),
        positions=_number(config, "max_position_embeddings"),
    )
    assert found.counted == total, f"{found.class_name}: parts have {found.counted} parameters, the model has {total}"
    last = {kind: at for at, kind in enumerate(each)}
    return found, {layers[place]: last[kind] for place, kind in enumerate(Counter(each))}


def _words(parts: Parts) -> list[str]:
    """What the config calls each layer; empty texts where it calls them nothing."""
    for key in KINDS:
        words = getattr(parts.config, key, None)
        if isinstance(words, list | tuple) and len(words) == len(parts.layers):
            return [str(word) for word in words]
    return [""] * len(parts.layers)


def _layers(parts: Parts, seen: set[int], bare: set[int]) -> list[LayerKind]:
    """Each layer by itself."""
    found = []
    for word, layer in zip(_words(parts), parts.layers, strict=True):
        maps = tuple(_maps(layer.named_modules(), seen, bare))
        found.append(LayerKind(count=1, kind=word, maps=maps, others=sum(parameter.numel() for parameter in _unseen(layer, seen))))
    return found


def _maps(modules: Any, seen: set[int], bare: set[int]) -> Iterator[LinearMap]:
    """Linear maps among named modules, those alike under one name together."""
    import torch
    from transformers.pytorch_utils import Conv1D

    found: Counter[LinearMap] = Counter()
    for name, module in modules:
        if isinstance(module, torch.nn.Linear | Conv1D):
            if id(module.weight) in seen:
                continue
            inputs, outputs = module.weight.shape if isinstance(module, Conv1D) else reversed(module.weight.shape)
            plain = re.sub(r"\d+", "N", name) if EXPERTS in f".{name}." or name.isdigit() else name
            part: Part = "router" if name.rpartition(".")[2] in ROUTERS else "expert" if EXPERTS in f".{name}." else "plain"
            _take(module, seen)
            found[LinearMap(name=plain, inputs=inputs, outputs=outputs, bias=module.bias is not None, part="bare" if id(module) in bare else part)] += 1
        for own, parameter in module.named_parameters(recurse=False):
            if parameter.dim() == 3 and EXPERTS in f".{name}." and id(parameter) not in seen:
                seen.add(id(parameter))
                copies, outputs, inputs = parameter.shape
                if getattr(module, "is_transposed", False):
                    inputs, outputs = outputs, inputs
                found[LinearMap(name=f"{name}.{own}", inputs=inputs, outputs=outputs, copies=copies, part="expert", stacked=True)] += 1
    for one, count in found.items():
        yield one.model_copy(update={"copies": one.copies * count})


def _tables(model: Any, parts: Parts, seen: set[int]) -> tuple[Table, ...]:
    """The input table, then other tables outside the layers."""
    import torch

    first = model.get_input_embeddings()
    found = [(name, module) for name, module in parts.rest() if isinstance(module, torch.nn.Embedding)]
    tables = []
    for name, module in sorted(found, key=lambda pair: pair[1] is not first):
        if id(module.weight) not in seen:
            _take(module, seen)
            tables.append(Table(name=name.rpartition(".")[2], rows=module.weight.shape[0], width=module.weight.shape[1]))
    return tuple(tables)


def _head(model: Any, seen: set[int]) -> LinearMap | None:
    import torch

    head = model.get_output_embeddings()
    if not isinstance(head, torch.nn.Linear) or id(head.weight) in seen:
        return None
    _take(head, seen)
    return LinearMap(name="head", inputs=head.in_features, outputs=head.out_features, bias=head.bias is not None)


def _tower(name: str, module: Any, seen: set[int]) -> Tower:
    import torch

    own = list(_unseen(module, seen))
    layers = max((len(found) for found in module.modules() if isinstance(found, torch.nn.ModuleList)), default=0)
    linear = sum(found.weight.numel() for found in module.modules() if isinstance(found, torch.nn.Linear))
    seen.update(map(id, own))
    return Tower(name=name, parameters=sum(parameter.numel() for parameter in own), layers=layers, linear=linear)


def _experts(config: Any, layers: tuple[LayerKind, ...]) -> Experts | None:
    count = max((one.copies for kind in layers for one in kind.maps if one.part == "expert"), default=0)
    active = next((number for key in ACTIVE if (number := _number(config, key))), 0)
    return Experts(count=count, active=min(active, count)) if count and active else None


def _take(module: Any, seen: set[int]) -> None:
    """Weight and bias of a table or a map; what else a module of its own kind holds is counted apart."""
    seen.update(id(parameter) for parameter in (module.weight, getattr(module, "bias", None)) if parameter is not None)


def _unseen(module: Any, seen: set[int]) -> list[Any]:
    """Parameters that no part has counted; they are counted now."""
    found = [parameter for parameter in module.parameters() if id(parameter) not in seen]
    seen.update(map(id, found))
    return found


def _number(config: Any, key: str) -> int:
    value = getattr(config, key, None)
    return value if type(value) is int and 0 < value < 2**31 else 0


def _divided(config: Any) -> int:
    heads = _number(config, "num_attention_heads")
    return _number(config, "hidden_size") // heads if heads else 0
