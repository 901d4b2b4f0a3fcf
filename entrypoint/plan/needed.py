"""What would be needed where nothing fits: a shorter row, fewer bits, more of the same accelerators, larger ones; with numbers."""

import math
from collections.abc import Iterator
from dataclasses import replace

from entrypoint.plan.accelerators import Kind, kinds
from entrypoint.plan.adapter import goes_with
from entrypoint.plan.host_memory import host_bytes
from entrypoint.plan.load import GIB, OWN_WEIGHTS, Load
from entrypoint.plan.memory import training_bytes
from entrypoint.plan.model_shape import ModelShape
from entrypoint.plan.optimisation import WHY_WHOLE

SHORTEST = 256
"""Tokens; a training on shorter rows is not proposed."""

LARGER = 1.1
"""Times that a kind has to be as large to be proposed: those of one size differ in what their drivers keep."""

MANY = 64
"""Accelerators at most that are proposed."""


def fitting_length(shape: ModelShape, load: Load, room_gib: float) -> int | None:
    """The longest row that fits, a multiple of 256 tokens; None where none does or the load's own does. `room_gib` is what a plan may fill."""
    low, high = 0, load.length // SHORTEST
    if high < 2 or _fits(shape, load, room_gib):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _fits(shape, _of_length(load, SHORTEST * middle), room_gib) else (low, middle)
    return SHORTEST * low or None


def _of_length(load: Load, length: int) -> Load:
    return replace(load, length=length, row=min(load.row, length))


def fitting_count(shape: ModelShape, load: Load, room_gib: float) -> tuple[int, str] | None:
    """The fewest accelerators of this size that do, a power of two, and the strategy; None beyond MANY, or for what cannot be sharded."""
    if load.optimizer in WHY_WHOLE or (load.copy and load.offload != "none"):
        return None
    count = 2
    while count <= MANY:
        for strategy in ("zero2", "zero3"):
            if count > load.ranks and goes_with(load.adapter, strategy):
                rows = max(min(load.micro_batch, 2), -(-load.micro_batch // count))  # a step's rows are shared too; no method needs more than two at once
                many = replace(load, strategy=strategy, ranks=count, micro_batch=rows, nodes=1, offload="none", gradient_checkpointing=True)
                if _fits(shape, many, room_gib):
                    return count, strategy
        count *= 2
    return None


def fitting_kind(shape: ModelShape, load: Load, share: float) -> Kind | None:
    """The smallest accelerator of the table that there is an image for and on which one alone would do; of those of one size the first."""
    known = sorted((kind for kind in kinds() if kind.memory_gib and kind.has_image), key=lambda kind: kind.memory_gib or 0)
    return next((kind for kind in known if _fits(shape, _alone(load, kind), share * (kind.memory_gib or 0))), None)


def _alone(load: Load, kind: Kind) -> Load:
    """The load on one accelerator of a kind. Those without bf16 are those without flash attention: both came with Ampere."""
    new = "bf16" in kind.tflops
    precision = load.precision if load.on_gpu and load.precision == "fp32" else "bf16" if new else "fp16"
    return replace(load, strategy="single", ranks=1, nodes=1, offload="none", gradient_checkpointing=True, on_gpu=True, precision=precision, flash=new)


def needed(shape: ModelShape, load: Load, name: str, room_gib: float, share: float, ram_gib: float = math.inf) -> list[str]:
    """Sentences, the smallest change first. `room_gib`: of one accelerator, or of a CPU's process; `share`: part of it, and of `ram_gib` beside GPUs, that may be filled."""
    room = share * room_gib
    found = []
    length = fitting_length(shape, replace(load, gradient_checkpointing=True), room)
    if length and _beside(shape, load) <= share * ram_gib:
        found.append(_shorter(load, length))
    found += list(_adapters(shape, load, room, share * ram_gib))
    if load.on_gpu:
        found += _more(shape, load, name, room)
    kind = fitting_kind(shape, load, share)
    if kind and (not load.on_gpu or (kind.memory_gib and kind.memory_gib > LARGER * room_gib)):
        found.append(f"1 x {kind.name} would do with {load.adapter}")
    if not found:
        found += _several(shape, load, share)
    return found


def _several(shape: ModelShape, load: Load, share: float) -> Iterator[str]:
    """Of all kinds that there is an image for the one of which the fewest do; of those the smallest."""
    adapter = "lora" if load.adapter == "qlora" else load.adapter
    ways = []
    for kind in kinds():
        if kind.memory_gib and kind.has_image and (many := fitting_count(shape, replace(_alone(load, kind), adapter=adapter), share * kind.memory_gib)):
            ways.append((many[0], kind.memory_gib, kind.name, many[1]))
    if ways:
        count, _, name, strategy = min(ways)
        yield f"{count} x {name} would do with {adapter} and {strategy}"


def _shorter(load: Load, length: int) -> str:
    """Packs do not shrink with their rows below a length of their own."""
    if not load.row:
        return f"shorten data.max_length: rows of {length:,} tokens fit"
    fields = "data.pack_length" if load.row <= length else "data.max_length and data.pack_length"
    return f"shorten {fields}: packs of {length:,} tokens fit"


def _more(shape: ModelShape, load: Load, name: str, room: float) -> Iterator[str]:
    for adapter in ["lora" if load.adapter == "qlora" else load.adapter]:  # 4-bit weights are not sharded
        many = fitting_count(shape, replace(load, adapter=adapter), room)
        if many:
            yield f"{many[0]} x {name} would do with {adapter} and {many[1]}"


def _adapters(shape: ModelShape, load: Load, room: float, host: float) -> Iterator[str]:
    """Adapters that need less, as far as they fit."""
    below = ["lora", "qlora"] if load.adapter in OWN_WEIGHTS else [] if load.adapter == "qlora" else ["qlora"]
    for adapter in below:
        strategy = load.strategy if goes_with(adapter, load.strategy) else ("ddp" if load.ranks > 1 else "single")
        other = replace(load, adapter=adapter, strategy=strategy, gradient_checkpointing=True, copy=False)
        if load.offload == "none" and _fits(shape, other, room) and _beside(shape, other) <= host:
            named = "" if strategy == load.strategy else f" with hardware.strategy: {strategy}"
            yield f"use adapter.kind: {adapter}{named}, which needs {_gib(shape, other):.1f} GiB"


def _beside(shape: ModelShape, load: Load) -> float:
    """GiB of a host's memory beside GPUs; of a CPU none, where both are one."""
    return sum(host_bytes(shape, load).values()) / GIB / load.nodes if load.on_gpu else 0.0


def _gib(shape: ModelShape, load: Load) -> float:
    return sum(training_bytes(shape, load).values()) / GIB


def _fits(shape: ModelShape, load: Load, room_gib: float) -> bool:
    return _gib(shape, load) <= room_gib
