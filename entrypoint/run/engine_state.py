"""What an optimizer step changes, in place and per parameter, for each engine: plain (single, DDP), FSDP, ZeRO 1 and 2, ZeRO 3.

State of a parameter's shape is kept in flat pieces that any engine reads. What else an optimizer keeps of a parameter (Adafactor's sums of
rows, the scales of 8-bit moments, a count) is kept whole; it exists under plain engines alone, where the plan allows such optimizers.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from entrypoint.run.fragments import WHOLE, Fragment, FragmentReader

WEIGHT, STEP = "weight", "step"


def fragments(model: Any, optimizer: Any, rank: int, ranks: int) -> list[Fragment]:
    """This rank's share of weights and optimizer state; views, not copies. `model` is not wrapped, `optimizer` is what steps."""
    if hasattr(optimizer, "single_partition_of_fp32_groups"):
        return list(_zero_1_2(model, optimizer))
    if hasattr(optimizer, "fp32_partitioned_groups_flat"):
        return list(_zero_3(model, optimizer, rank, ranks))
    # Where every rank has the same, each writes its share of the parameters.
    owned = [(name, parameter) for index, (name, parameter) in enumerate(_trained(model)) if isinstance(parameter, DTensor) or index % ranks == rank]
    return [piece for name, parameter in owned for piece in _plain(name, parameter, optimizer)]


def restore(model: Any, optimizer: Any, rank: int, ranks: int, reader: FragmentReader) -> None:
    """Put what `reader` holds where the engine keeps it, and bring the weights that are computed with up to date."""
    base = base_optimizer(optimizer)
    with torch.no_grad():
        if base is optimizer:
            _make_room(base)
            for name, parameter in _trained(model):
                _restore_plain(name, parameter, base, reader)
            return
        for flat, name in _flats(model, optimizer):
            _make_state(base, flat, name, reader)
        for piece in fragments(model, optimizer, rank, ranks):
            if piece.kind != STEP:
                piece.tensor.copy_(reader.read(piece.kind, piece.name, piece.start, piece.tensor.numel()))
        _refresh(optimizer)


def base_optimizer(optimizer: Any) -> Any:
    """torch's optimizer inside DeepSpeed's, or the optimizer itself."""
    return optimizer.optimizer if hasattr(optimizer, "loss_scaler") else optimizer


def _trained(model: Any) -> Iterator[tuple[str, Any]]:
    return ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)


def _plain(name: str, parameter: Any, optimizer: Any) -> Iterator[Fragment]:
    start, share = _share(parameter)
    if not share.numel():  # fewer rows than ranks
        return
    yield Fragment(WEIGHT, name, start, share.view(-1))
    for kind, value in optimizer.state.get(parameter, {}).items():
        if kind == STEP and torch.is_tensor(value):
            if start == 0:
                yield Fragment(kind, name, 0, value.detach().reshape(-1))
        elif torch.is_tensor(value) and value.shape == parameter.shape and value.dim():
            yield Fragment(kind, name, start, _share(value)[1].reshape(-1))
        else:
            yield Fragment(WHOLE + kind, name, 0, _as_tensor(value))


def _restore_plain(name: str, parameter: Any, optimizer: Any, reader: FragmentReader) -> None:
    start, share = _share(parameter)
    for kind in reader.kinds(name):
        if kind == STEP:
            optimizer.state[parameter][kind] = _count(reader.read(kind, name, 0, 1), parameter, optimizer)
            continue
        if kind.startswith(WHOLE):
            _put_whole(optimizer, parameter, kind.removeprefix(WHOLE), reader.whole(kind, name))
            continue
        read = reader.read(kind, name, start, share.numel()).view(share.shape) if share.numel() else None
        if kind != WEIGHT and not torch.is_tensor(optimizer.state[parameter].get(kind)):
            # torch's AdamW wants moments like the weights, which another precision may have changed; others have types of their own.
            dtype = None if read is None or isinstance(optimizer, torch.optim.AdamW) else read.dtype
            optimizer.state[parameter][kind] = torch.zeros_like(parameter, dtype=dtype, requires_grad=False)
        if read is not None:
            place = share if kind == WEIGHT else _share(optimizer.state[parameter][kind])[1]
            place.copy_(read)


def _as_tensor(value: Any) -> torch.Tensor:
    """A tensor as it is, a number in a type that tells which of Python's it was."""
    if torch.is_tensor(value):
        return value.detach()
    return torch.tensor(value, dtype=torch.int64 if isinstance(value, int) else torch.float64)


def _put_whole(optimizer: Any, parameter: Any, kind: str, value: torch.Tensor) -> None:
    state = optimizer.state[parameter]
    if value.dim() == 0 and value.dtype in (torch.int64, torch.float64):
        state[kind] = value.item()
    elif torch.is_tensor(state.get(kind)):
        state[kind].copy_(value)
    else:
        state[kind] = value.to(parameter.device)


def _make_room(optimizer: Any) -> None:
    """bitsandbytes allocates state itself, in pages where it is asked to: so before anything is put there."""
    if not hasattr(optimizer, "init_state"):
        return
    optimizer.check_overrides()
    for group_index, group in enumerate(optimizer.param_groups):
        for index, parameter in enumerate(group["params"]):
            if not optimizer.state[parameter]:
                optimizer.init_state(group, parameter, group_index, index)


def _share(tensor: torch.Tensor) -> tuple[int, torch.Tensor]:
    """What this rank holds of a tensor, and where that starts in the whole, flattened: FSDP cuts along the first dimension."""
    if not isinstance(tensor, DTensor):
        return 0, tensor.detach()
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    _, offset = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
    row = tensor.numel() // max(1, tensor.shape[0])
    return offset[0] * row, tensor.detach().to_local()


def _count(value: torch.Tensor, parameter: Any, optimizer: Any) -> torch.Tensor:
    """torch keeps the count of steps on the CPU unless a fused or capturable kernel reads it on the device."""
    on_device = any(group.get("fused") or group.get("capturable") for group in optimizer.param_groups)
    return value.view(()).to(parameter.device if on_device else "cpu")


def _make_state(optimizer: Any, flat: Any, name: str, reader: FragmentReader) -> None:
    """Room for what is restored: before its first step an optimizer has no state."""
    for kind in reader.kinds(name):
        if kind == STEP:
            optimizer.state[flat][kind] = _count(reader.read(kind, name, 0, 1), flat, optimizer)
        elif kind != WEIGHT and kind not in optimizer.state[flat]:
            optimizer.state[flat][kind] = torch.zeros_like(flat)


def _zero_1_2(model: Any, optimizer: Any) -> Iterator[Fragment]:
    groups = optimizer.single_partition_of_fp32_groups
    for name, parameter in _trained(model):
        mapping = parameter._hp_mapping
        if mapping is None:  # another rank's
            continue
        flat, inside, start = groups[mapping.param_group_index], mapping.hp_fragment_address, mapping.lp_fragment_address.start
        yield from _parts(name, start, flat, inside.start, inside.numel, optimizer.optimizer.state.get(flat, {}))


def _zero_3(model: Any, optimizer: Any, rank: int, ranks: int) -> Iterator[Fragment]:
    for name, parameter in _trained(model):
        group, offset, padded = optimizer.grad_position[optimizer.get_param_id(parameter)]
        start = padded * rank
        count = min(padded, parameter.ds_numel - start)
        if count > 0:  # the last rank's share may be padding alone
            flat = optimizer.fp32_partitioned_groups_flat[group]
            yield from _parts(name, start, flat, offset, count, optimizer.optimizer.state.get(flat, {}))


def _parts(name: str, start: int, flat: Any, offset: int, count: int, state: dict[str, Any]) -> Iterator[Fragment]:
    yield Fragment(WEIGHT, name, start, flat.detach().narrow(0, offset, count))
    for kind, value in state.items():
        if torch.is_tensor(value) and value.shape == flat.shape:
            yield Fragment(kind, name, start, value.narrow(0, offset, count))
        elif start == 0:
            yield Fragment(kind, name, 0, torch.as_tensor(float(value), dtype=torch.float32).view(1))


def _flats(model: Any, optimizer: Any) -> Iterator[tuple[Any, str]]:
    """Each flat group with the name of one of its parameters: their step counts are one."""
    seen = set()
    zero_3 = hasattr(optimizer, "fp32_partitioned_groups_flat")
    groups = optimizer.fp32_partitioned_groups_flat if zero_3 else optimizer.single_partition_of_fp32_groups
    for name, parameter in _trained(model):
        if zero_3:
            index = optimizer.grad_position[optimizer.get_param_id(parameter)][0]
        elif parameter._hp_mapping is None:
            continue
        else:
            index = parameter._hp_mapping.param_group_index
        if index not in seen:
            seen.add(index)
            yield groups[index], name


def _refresh(optimizer: Any) -> None:
    """fp32 masters -> the weights of the forward pass."""
    if hasattr(optimizer, "single_partition_of_fp32_groups"):
        optimizer.update_lp_params()
        return
    optimizer.checkpoint_event_prologue()
    for index, flat in enumerate(optimizer.fp32_partitioned_groups_flat):
        optimizer.fp16_partitioned_groups_flat[index].data.copy_(flat.data)
        optimizer._unflatten_partitioned_parameters(index)
    optimizer.checkpoint_event_epilogue()
