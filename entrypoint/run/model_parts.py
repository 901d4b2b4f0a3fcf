"""Which modules of a model are the language model, its layers, and towers beside it; by structure, for any architecture."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

KINDS = ("layer_types", "layers_block_type", "hybrid_layer_pattern")
"""What configs call the list of their layers' kinds."""


@dataclass(frozen=True)
class Parts:
    """A model, cut."""

    model: Any
    config: Any
    """Of the language model."""

    decoder: Any
    """The language model without its head."""

    layers: tuple[Any, ...]
    """Its layers, in their order."""

    towers: tuple[tuple[str, Any], ...]
    """Modules beside the language model, by the name that their owner calls them; one inside another comes once."""

    def rest(self) -> Iterator[tuple[str, Any]]:
        """Named modules that lie in no layer and no tower."""
        apart = {id(inner) for module in (*self.layers, *(tower for _, tower in self.towers)) for inner in module.modules()}
        return ((name, module) for name, module in self.model.named_modules() if id(module) not in apart)


def parts_of(model: Any) -> Parts:
    """Cut a model of transformers."""
    inside = model.config.is_encoder_decoder
    config = model.config if inside else model.config.get_text_config(decoder=True)
    decoder = model if inside else model.get_decoder()
    return Parts(model, config, decoder, _layers(decoder, config), towers_of(model))


def towers_of(model: Any) -> tuple[tuple[str, Any], ...]:
    """Towers lie beside the language model where the config has a section for text; any other model, one without a config too, has none."""
    config = getattr(model, "config", None)
    if config is None or config.is_encoder_decoder or config.get_text_config(decoder=True) is config:
        return ()
    return tuple(_towers(model, model.get_decoder(), model.get_output_embeddings()))


def _towers(module: Any, decoder: Any, head: Any) -> Iterator[tuple[str, Any]]:
    for name, child in module.named_children():
        if child is decoder or child is head or next(child.parameters(), None) is None:
            continue
        if any(inner is decoder for inner in child.modules()):
            yield from _towers(child, decoder, head)
        else:
            yield name, child


def _layers(decoder: Any, config: Any) -> tuple[Any, ...]:
    """Entries of the lists that are as long as the config has layers, or of the list with the most parameters; none lies inside another."""
    import torch

    lists = [module for module in decoder.modules() if isinstance(module, torch.nn.ModuleList) and next(module.parameters(), None) is not None]
    inner = {id(found) for module in lists for found in module.modules() if found is not module}
    lists = [module for module in lists if id(module) not in inner]
    count = getattr(config, "num_hidden_layers", None)
    chosen = [module for module in lists if len(module) == count] or sorted(lists, key=lambda m: sum(p.numel() for p in m.parameters()))[-1:]
    return tuple(layer for module in chosen for layer in module)
