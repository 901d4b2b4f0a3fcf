"""Trained weights into a model folder, tensor by tensor: a model far larger than the memory is merged.

The model is built without weights, with the adapter laid over it by peft. Each tensor of the base is read, put where it belongs, merged there
by peft's own code in fp32, rounded once to bf16, written, and dropped.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from entrypoint.run.tensor_files import TensorWriter, places, read_all
from schemas.errors import GateRefused

ADAPTER = "default"
"""peft's name of the only adapter."""

OTHER_BASE = "it was trained on another model: name the base that it was trained on"

Change = Callable[[str, Any], Any]
"""Name of a weight and the tensor of the base -> the tensor that the adapter was trained on."""


class NotByTensor(Exception):
    """Why a model cannot be merged tensor by tensor; peft's own merge of the whole model takes it."""


@dataclass
class Moved:
    """How far an adapter moved the weights that it moved, and how far rounding them to bf16 did: sums of squares."""

    update: float = 0.0
    rounding: float = 0.0

    @property
    def lost(self) -> float | None:
        """Rounding as a share of the update; None where nothing was merged. From about one half on the merge loses what was trained."""
        return math.sqrt(self.rounding / self.update) if self.update > 0 else None


@dataclass(frozen=True)
class Skeleton:
    """A model without weights: what its tensors are called, and what the adapter does to each."""

    model: Any
    """On no device. Its config is that of the merged model."""

    names: frozenset[str]
    """Of all weights and buffers that a file holds."""

    tied: dict[str, str]
    """Name of a tensor that is another one -> that one."""

    linear: frozenset[str]
    """Weights of linear maps but the output head: what NF4 holds in 4 bits."""

    transposed: frozenset[str]
    """Of these, those that lie as (inputs, outputs)."""

    layers: dict[str, Any] = field(default_factory=dict)
    """Weight -> peft's layer that merges into it."""

    whole: dict[str, Any] = field(default_factory=dict)
    """Weight -> the tensor that was trained in its place."""

    untied: bool = False
    """The adapter moved one of two tensors that were one."""

    moved: Moved = field(default_factory=Moved)
    """Filled by the merge."""


def build(folder: Path, judge: bool, weights: Path | None) -> Skeleton:
    """The model of a folder, and where `weights` is given the adapter that lies there over it. Raises NotByTensor."""
    import torch
    from torch.nn import Linear
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification
    from transformers.pytorch_utils import Conv1D

    config = AutoConfig.from_pretrained(folder, local_files_only=True, **({"num_labels": 1} if judge else {}))
    if getattr(config, "quantization_config", None):
        raise NotByTensor("a base whose weights are quantised themselves")
    with torch.device("meta"):
        model = (AutoModelForSequenceClassification if judge else AutoModelForCausalLM).from_config(config, dtype=torch.float32)
    names = frozenset(model.state_dict())
    tied = dict(getattr(model, "all_tied_weights_keys", None) or {})
    head = model.get_output_embeddings()
    maps = {name: module for name, module in model.named_modules() if isinstance(module, Linear | Conv1D) and module is not head and name != "score"}
    skeleton = Skeleton(
        model, names, tied, frozenset(f"{name}.weight" for name in maps), frozenset(f"{n}.weight" for n, m in maps.items() if isinstance(m, Conv1D))
    )
    return _lay_over(skeleton, weights) if weights else skeleton


def _lay_over(skeleton: Skeleton, weights: Path) -> Skeleton:
    """The skeleton with the adapter of a folder."""
    from peft import PeftConfig, get_peft_model
    from peft.utils.save_and_load import load_peft_weights, set_peft_model_state_dict

    config: Any = PeftConfig.from_pretrained(str(weights))
    _check_kind(config)
    config.init_lora_weights = True  # peft would start PiSSA and others from the weights that are not there
    config.inference_mode, config.base_model_name_or_path = True, None
    tuned = get_peft_model(skeleton.model, config, low_cpu_mem_usage=True)
    _fill(tuned, {name: tensor.float() for name, tensor in load_peft_weights(str(weights), device="cpu").items()}, set_peft_model_state_dict)
    layers, whole = _what_is_changed(tuned.base_model.model)
    moved = {*layers, *whole}
    pairs = [(name, source) for name, source in skeleton.tied.items() if {name, source} & moved]
    untied = bool(pairs) and not config.ensure_weight_tying and not config.trainable_token_indices
    return Skeleton(skeleton.model, skeleton.names, skeleton.tied, skeleton.linear, skeleton.transposed, layers, whole, untied)


def _fill(tuned: Any, saved: dict[str, Any], put: Callable[..., Any]) -> None:
    """Give the adapter its weights: by peft's own loader, which knows what a file calls them, but without its last act, which sends them after
    the base, to no device."""
    named: dict[str, Any] = {}
    load = tuned.load_state_dict

    def keep(state: dict[str, Any], **options: Any) -> Any:
        named.update(state)
        return load(state, **options)

    tuned.load_state_dict = keep
    try:
        found = put(tuned, saved, low_cpu_mem_usage=True)
    except RuntimeError as error:  # of another shape
        raise GateRefused(f"the adapter does not fit the base: {' '.join(str(error).split())[:300]}", OTHER_BASE) from None
    load(named, strict=False, assign=True)
    if gone := found.unexpected_keys:
        raise GateRefused(f"the adapter has {len(gone)} weights that the base has no place for; the first is {gone[0]}", OTHER_BASE)


def _check_kind(config: Any) -> None:
    """Raise NotByTensor for what is more than a change of single weights."""
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    if kind != "LORA":
        raise NotByTensor(f"an adapter of kind {kind}")
    if config.bias != "none" or config.lora_bias:
        raise NotByTensor("an adapter with biases of its own")
    if config.layer_replication:
        raise NotByTensor("an adapter that repeats layers")


def _what_is_changed(model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Weights with a layer of peft that merges into them, and those that were trained whole."""
    from peft.tuners.lora.layer import LoraLayer, ParamWrapper
    from peft.utils.other import ModulesToSaveWrapper, TrainableTokensWrapper

    layers: dict[str, Any] = {}
    whole: dict[str, Any] = {}
    for name, module in model.named_modules():
        path = name.replace(".base_layer", "")
        if isinstance(module, ModulesToSaveWrapper):
            whole |= {f"{path}.{part}": tensor for part, tensor in module.modules_to_save[ADAPTER].state_dict().items()}
        elif isinstance(module, TrainableTokensWrapper):
            layers[f"{path}.weight"] = module.token_adapter
        elif isinstance(module, LoraLayer) and not isinstance(module, ParamWrapper) and not path.endswith("token_adapter"):
            layers[f"{path}.weight"] = module
        elif isinstance(module, ParamWrapper):
            layers[f"{path}.{module.parameter_name}"] = module
    return layers, whole


def merge(base: Path, skeleton: Skeleton, output: Path, change: Change | None = None) -> int:
    """Write the merged tensors, bf16, and the config. Returns their bytes. Raises NotByTensor where the files name what it moves otherwise."""
    import torch

    found = places(base)
    inside = {name: _inside(name, skeleton) for name in found}
    passed = _passed_on(skeleton, inside)
    writer = TensorWriter(output)
    copies = {source: name for name, source in skeleton.tied.items()} if skeleton.untied else {}
    with torch.no_grad():
        for on_disk, tensor in read_all(base, {n: f for n, f in found.items() if n in passed or (inside[n] and inside[n] not in skeleton.tied)}):
            name = inside[on_disk]
            if name is None:
                writer.add(on_disk, rounded(tensor))
                continue
            writer.add(name, merged(skeleton, name, tensor, change))
            if copy := copies.get(name):
                writer.add(copy, merged(skeleton, copy, tensor, change))
        for name in sorted(skeleton.names & set(skeleton.whole) - set(inside.values())):
            if name not in skeleton.tied:
                writer.add(name, merged(skeleton, name, None, change))
    size = writer.close()
    write_config(skeleton.model, output, untied=skeleton.untied)
    return size


def _passed_on(skeleton: Skeleton, inside: dict[str, str | None]) -> set[str]:
    """Tensors that the model holds under another name, or several in one, as of most experts: written as they were, where the adapter moves none of
    them. Raises NotByTensor where it does. What else a model does not know it does not need, and is left out as every loader does."""
    changed = set(skeleton.layers) | set(skeleton.whole)
    absent = skeleton.names - set(skeleton.tied) - set(skeleton.whole) - set(inside.values())
    if not absent:
        return set()
    touched = sorted(absent & changed)
    if touched or any(name not in (None, on_disk) for on_disk, name in inside.items()):
        raise NotByTensor(f"its files do not hold {(touched or sorted(absent))[0]} under that name")
    return {on_disk for on_disk, name in inside.items() if name is None}


def _inside(on_disk: str, skeleton: Skeleton) -> str | None:
    """What the model calls a tensor of the file; None for one that it does not have, as every loader passes over those."""
    prefix = f"{skeleton.model.base_model_prefix}."
    for name in (on_disk, prefix + on_disk, on_disk.removeprefix(prefix)):
        if name in skeleton.names:
            return name
    return None


def merged(skeleton: Skeleton, name: str, tensor: Any, change: Change | None) -> Any:
    """One tensor of the merged model, rounded once."""
    if name in skeleton.whole:
        return rounded(skeleton.whole[name])
    if not tensor.is_floating_point():
        return tensor
    if change is not None:
        tensor = change(name, tensor)
    if name not in skeleton.layers:
        return rounded(tensor)
    before = tensor.float()
    after = _through(skeleton.layers[name], name, before.clone())
    written = rounded(after)
    skeleton.moved.update += float((after - before).square().sum())
    skeleton.moved.rounding += float((written.float() - after).square().sum())
    return written


def rounded(tensor: Any) -> Any:
    """In bf16; a tensor that counts stays as it is."""
    import torch

    return tensor.to(torch.bfloat16) if tensor.is_floating_point() else tensor


def _through(layer: Any, name: str, tensor: Any) -> Any:
    """The weight of one layer after peft's merge; the layer is empty again afterwards."""
    import torch

    home = layer.get_base_layer()
    own = name.rpartition(".")[2]
    empty = getattr(home, own)
    if empty.shape != tensor.shape:
        raise GateRefused(f"{name} has the shape {tuple(tensor.shape)} in the base, the adapter was trained on {tuple(empty.shape)}", OTHER_BASE)
    setattr(home, own, torch.nn.Parameter(tensor, requires_grad=False))
    try:
        layer.merge(safe_merge=True)
    except ValueError as error:
        raise GateRefused(f"{name}: {error}", "the adapter holds values that are no numbers: train again, with a lower learning rate") from error
    result = getattr(home, own).data
    setattr(home, own, empty)
    layer.merged_adapters.clear()
    return result


def write_config(model: Any, output: Path, untied: bool = False) -> None:
    """config.json and generation_config.json of a bf16 model for inference."""
    import torch

    model.config.use_cache = True
    model.config.dtype = torch.bfloat16
    model.config.architectures = [type(model).__name__]
    if untied:
        model.config.tie_word_embeddings = False
    model.config.save_pretrained(output)
    if getattr(model, "generation_config", None) is not None and model.can_generate():
        model.generation_config.save_pretrained(output)
