"""What an optimizer step changes, in place and per parameter, for each engine: plain (single, DDP), ZeRO 1 and 2, ZeRO 3."""

from collections.abc import Iterator
from typing import Any

import torch

from entrypoint.run.fragments import Fragment, FragmentReader

WEIGHT, STEP = "weight", "step"


def fragments(model: Any, optimizer: Any, rank: int, ranks: int) -> list[Fragment]:
    """This rank's share of weights and optimizer state; views, not copies. `model` is not wrapped, `optimizer` is what steps."""
    if hasattr(optimizer, "single_partition_of_fp32_groups"):
        return list(_zero_1_2(model, optimizer))
    if hasattr(optimizer, "fp32_partitioned_groups_flat"):
        return list(_zero_3(model, optimizer, rank, ranks))
    # Every rank has the same: each writes its share of the parameters.
    owned = [pair for index, pair in enumerate(_trained(model)) if index % ranks == rank]
    return [piece for name, parameter in owned for piece in _plain(name, parameter, optimizer)]


def restore(model: Any, optimizer: Any, rank: int, ranks: int, reader: FragmentReader) -> None:
    """Put what `reader` holds where the engine keeps it, and bring the weights that are computed with up to date."""
    base = base_optimizer(optimizer)
    with torch.no_grad():
        if base is optimizer:
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
    yield Fragment(WEIGHT, name, 0, parameter.detach().view(-1))
    for kind, value in optimizer.state.get(parameter, {}).items():
        yield Fragment(kind, name, 0, torch.as_tensor(value, dtype=None if torch.is_tensor(value) else torch.float32).detach().reshape(-1))


def _restore_plain(name: str, parameter: Any, optimizer: Any, reader: FragmentReader) -> None:
    for kind in reader.kinds(name):
        count = 1 if kind == STEP else parameter.numel()
        value = reader.read(kind, name, 0, count)
        if kind == WEIGHT:
            parameter.data.copy_(value.view(parameter.shape))
        elif kind == STEP:
            optimizer.state[parameter][kind] = _count(value, parameter, optimizer)
        else:
            optimizer.state[parameter][kind] = value.view(parameter.shape).to(parameter.device)


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
