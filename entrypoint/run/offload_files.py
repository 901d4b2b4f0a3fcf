"""What DeepSpeed keeps in the host's memory moves into mapped files; to it and to checkpoints the tensors stay what they were."""

from typing import Any

import torch

from entrypoint.run.engine_state import base_optimizer
from entrypoint.run.mapped_files import MappedFiles

MOMENTS = ("exp_avg", "exp_avg_sq")
"""As torch's AdamW calls them; the plan lets no other optimizer come here."""


def move_to_files(model: Any, optimizer: Any, files: MappedFiles) -> None:
    """fp32 weights, their gradients and moments, and under ZeRO-3 the weights: once, before the first step and before a checkpoint is read."""
    zero_3 = hasattr(optimizer, "fp32_partitioned_groups_flat")
    state = base_optimizer(optimizer).state
    for flat in optimizer.fp32_partitioned_groups_flat if zero_3 else optimizer.single_partition_of_fp32_groups:
        flat.data = files.copy(flat)
        if flat.grad is not None:
            flat.grad = files.copy(flat.grad)
        # As AdamW would make them at its first step, but in memory.
        state[flat] = {"step": torch.zeros((), dtype=torch.float32), **{name: files.zeros(flat.numel(), flat.dtype) for name in MOMENTS}}
    if zero_3:
        _move_weights(model, optimizer, files)
    else:
        _point_anew(model, optimizer)


def _point_anew(model: Any, optimizer: Any) -> None:
    """ZeRO 1 and 2 keep views of the fp32 weights, which would keep their old memory."""
    for parameter in model.parameters():
        mapping = getattr(parameter, "_hp_mapping", None)
        if mapping is not None:
            place, flat = mapping.hp_fragment_address, optimizer.single_partition_of_fp32_groups[mapping.param_group_index]
            mapping.hp_fragment = flat.narrow(0, place.start, place.numel)


def _move_weights(model: Any, optimizer: Any, files: MappedFiles) -> None:
    """This rank's shares of the weights: trained ones lie flat in groups, frozen ones each by itself."""
    for index, flat in enumerate(optimizer.fp16_partitioned_groups_flat):
        flat.data = files.copy(flat)
        optimizer._unflatten_partitioned_parameters(index)
    held = optimizer.param_groups_fp16_flat_cpu_memory  # the memory that those were views of
    held[:] = [buffer.new_empty(0) for buffer in held]
    for parameter in model.parameters():
        if not parameter.requires_grad and hasattr(parameter, "ds_tensor"):
            parameter.ds_tensor.data = files.copy(parameter.ds_tensor)
