"""What a model's layers keep for the backward pass, by running its own code over tensors that have shapes and no bytes."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from entrypoint.run.model_parts import KINDS, Parts, parts_of
from entrypoint.run.targets import ROUTERS
from entrypoint.run.unadapted import unadapted
from schemas.anatomy import Kept

Trains = Literal["full", "adapter"]
Precision = Literal["bf16", "fp32"]

LENGTH = 64
"""Tokens of the shortest run; a whole part of what recurrent layers compute at once, where they say how much that is."""

STEPWISE = 16
"""The same for a state of two dimensions, as Mamba's, whose plain code goes from token to token."""


@dataclass(frozen=True)
class Sums:
    """Bytes that one layer keeps, by number of tokens."""

    lengths: tuple[int, int, int]
    bytes: tuple[int, int, int]

    def fit(self) -> tuple[float, float, float]:
        """Bytes of any length, a token, and a pair of tokens: attention that holds all scores has the last."""
        step = self.lengths[0]
        first, second, third = self.bytes
        squared = round(max(0.0, (third - 2 * second + first) / (2 * step**2)), 2)
        each = max(0.0, (second - first) / step - 3 * step * squared)
        return max(0.0, first - step * each - step**2 * squared), each, squared


def measure(build: Callable[[Any], Any], chosen: list[int]) -> dict[int, tuple[Kept, ...]]:
    """For each of the chosen layers what it keeps in every way of training.

    `build` makes the model anew in a dtype, wherever it is called. Empty where the architecture's code cannot be run so: it asks for values, not shapes.
    """
    found: dict[int, list[Kept]] = defaultdict(list)
    for trains in ("full", "adapter"):
        for precision in ("bf16", "fp32"):
            for layer, sums in _run(build, chosen, trains, precision).items():
                fixed, each, squared = sums.fit()
                found[layer].append(Kept(trains=trains, precision=precision, bytes=round(each, 1), squared=squared, fixed=round(fixed)))
    return {layer: tuple(kept) for layer, kept in found.items()}


def _run(build: Callable[[Any], Any], chosen: list[int], trains: Trains, precision: Precision) -> dict[int, Sums]:
    """Three lengths over a model that has the chosen layers alone."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True), torch.device("cpu"), _plain_kernels():
        model = build(torch.float32 if trains == "full" or precision == "fp32" else torch.bfloat16).train()
        parts = parts_of(model)
        layers = [parts.layers[at] for at in chosen]
        shorten(parts, chosen)
        if trains == "adapter":
            model.requires_grad_(False)
            bare = unadapted(model)
            for layer in layers:
                _adapt(layer, bare)
        step = _step(layers)
        lengths = (step, 2 * step, 3 * step)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            kept = [_kept(model, parts, layers, length) for length in lengths]
    return {at: Sums(lengths, (kept[0][place], kept[1][place], kept[2][place])) for place, at in enumerate(chosen)}


def _step(layers: list[Any]) -> int:
    if any(name.endswith("A_log") and parameter.dim() == 2 for layer in layers for name, parameter in layer.named_parameters()):
        return STEPWISE
    return max([LENGTH, *(size for layer in layers for module in layer.modules() if type(size := getattr(module, "chunk_size", 0)) is int)])


@contextmanager
def _plain_kernels() -> Iterator[None]:
    """What kernels of a GPU keep, from those of a CPU: fused attention holds no scores and no mask, whatever is dropped out; and a product of
    experts holds its inputs alone, in any precision."""
    import torch

    functions = torch.nn.functional
    attend, multiply = functions.scaled_dot_product_attention, functions.grouped_mm

    def attention(query: Any, key: Any, value: Any, *_: Any, **options: Any) -> Any:
        options = {name: given for name, given in options.items() if name in ("scale", "enable_gqa")}
        return attend(query, key, value, is_causal=query.shape[-2] == key.shape[-2], **options)

    def experts(inputs: Any, weights: Any, **_: Any) -> Any:
        with torch.autocast("cpu", enabled=False):
            return inputs @ weights[0]

    from transformers.integrations import sdpa_attention

    groups = sdpa_attention.use_gqa_in_sdpa
    functions.scaled_dot_product_attention, functions.grouped_mm = attention, experts
    sdpa_attention.use_gqa_in_sdpa = lambda *_: True  # as without a mask: heads share keys and values, none is repeated
    try:
        yield
    finally:
        functions.scaled_dot_product_attention, functions.grouped_mm = attend, multiply
        sdpa_attention.use_gqa_in_sdpa = groups


def shorten(parts: Parts, chosen: list[int]) -> None:
    """Leave a model the chosen layers alone, in their order; its config says so too."""
    import torch

    wanted = [parts.layers[at] for at in chosen]
    for owner in parts.decoder.modules():
        for name, child in list(owner.named_children()):
            if isinstance(child, torch.nn.ModuleList) and any(layer is wanted[0] for layer in child):
                setattr(owner, name, torch.nn.ModuleList(wanted))
    for key in KINDS:
        words = parts.config.__dict__.get(key)
        if isinstance(words, list | tuple) and len(words) == len(parts.layers):
            setattr(parts.config, key, [words[at] for at in chosen])
    parts.config.num_hidden_layers = len(chosen)


def _kept(model: Any, parts: Parts, layers: list[Any], length: int) -> list[int]:
    """Bytes of storages that a forward pass saves while each layer runs, those of weights apart; each counts where it is saved first."""
    import torch

    places: dict[int, tuple[Any, int, int | None]] = {}
    inside: list[int | None] = [None]

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights and storage._cdata not in places:
            places[storage._cdata] = (tensor, storage.nbytes(), inside[0])  # the tensor lives on: a new one may not get its address
        return tensor

    weights = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
    with ExitStack() as hooks:
        for place, layer in enumerate(layers):
            hooks.enter_context(_within(layer, place, inside))
        table = model.get_input_embeddings().register_forward_hook(lambda _, __, output: output.requires_grad_())
        hooks.callback(table.remove)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            parts.decoder(input_ids=torch.zeros((1, length), dtype=torch.long), use_cache=False)
    return [sum(size for _, size, where in places.values() if where == place) for place in range(len(layers))]


@contextmanager
def _within(layer: Any, place: int, inside: list[int | None]) -> Iterator[None]:
    def enter(*_: Any) -> None:
        inside[0] = place

    def leave(*_: Any) -> None:
        inside[0] = None

    hooks = [layer.register_forward_pre_hook(enter), layer.register_forward_hook(leave)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _adapt(layer: Any, bare: set[int]) -> None:
    """Adapters of rank 1 in fp32 beside linear layers, as peft's LoRA computes them."""
    import torch
    from transformers.pytorch_utils import Conv1D

    for name, module in layer.named_modules():
        if isinstance(module, torch.nn.Linear | Conv1D) and name.rpartition(".")[2] not in ROUTERS and id(module) not in bare:
            module.forward = _adapted(module, module.forward)


def _adapted(module: Any, base: Callable[[Any], Any]) -> Callable[[Any], Any]:
    import torch
    from transformers.pytorch_utils import Conv1D

    inputs, outputs = module.weight.shape if isinstance(module, Conv1D) else reversed(module.weight.shape)
    down, up = torch.nn.Parameter(torch.empty(1, inputs)), torch.nn.Parameter(torch.empty(outputs, 1))
    module.adapter = torch.nn.ParameterList([down, up])

    def forward(x: Any) -> Any:
        result = base(x)
        change = torch.nn.functional.linear(torch.nn.functional.linear(x.to(down.dtype), down), up)
        return (result + change * 2.0).to(result.dtype)

    return forward
