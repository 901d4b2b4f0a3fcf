"""FSDP2: weights, gradients and optimizer in shares, by torch's own `fully_shard`.

accelerate would wrap the model itself, but only on accelerators: on a CPU it takes DDP without a word. One way for both is what the tests
on a CPU can speak for.
"""

from typing import Any

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from entrypoint.run.ranks import ranks
from entrypoint.run.targets import decoder_layers

TYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def shard(model: Any, settings: dict[str, Any], device: torch.device) -> None:
    """Leave this rank its share of each parameter, in place; a layer's weights are gathered while it computes, and given back.

    `settings` are the plan's. Parameters that are trained and were not read from a file must be those of the first rank.
    """
    mesh = init_device_mesh(device.type, (ranks(),))
    _same_start(model, device)
    options = {
        "mesh": mesh,
        "mp_policy": MixedPrecisionPolicy(param_dtype=TYPES[settings["param_dtype"]], reduce_dtype=TYPES[settings["reduce_dtype"]], output_dtype=torch.float32),
    }
    for layer in decoder_layers(model):
        fully_shard(layer, reshard_after_forward=settings["reshard_after_forward"], **options)
    fully_shard(model, **options)  # what is in no layer: embeddings, the last norm, the output head
    model._is_accelerate_prepared = True  # or it would be wrapped in DDP


def full_state(model: Any) -> dict[str, torch.Tensor]:
    """Every trained parameter whole, in host memory; empty on ranks but the first. All ranks have to call it."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    frozen = hasattr(model, "peft_config")  # an adapter's base is not saved with it
    state: dict[str, torch.Tensor] = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=frozen))
    return state


def _same_start(model: Any, device: torch.device) -> None:
    """Adapters begin at random, on each rank for itself."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and "lora_" in name:
            held = parameter.data.to(device)
            torch.distributed.broadcast(held, 0)
            parameter.data.copy_(held)
