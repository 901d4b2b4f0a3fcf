"""How many rows at once a run may go up to where its memory turns out to have room: decided here, done by entrypoint.run.raised."""

from collections.abc import Sequence

from entrypoint.plan.choose import MAX_MICRO_BATCH, Option
from entrypoint.plan.fit import MARGIN
from entrypoint.plan.load import GIB
from entrypoint.plan.memory import CONTEXT_GIB, FRAGMENTS
from schemas.expected import Raising
from schemas.plan import Decision
from schemas.spec import Spec

KINDS = ("sft", "pretrain")
"""Methods whose rows are one sequence each and whose loss is a sum over tokens, so that a step's is the same however it is parted."""


def raising(spec: Spec, found: Sequence[Option], chosen: Option, deterministic: bool, decisions: list[Decision]) -> Raising | None:
    """None where a run stays as planned: with `deterministic: true`, since what is measured is not the same twice; with several processes, which would have to agree
    in the middle of an epoch; with a user's loss or trainer, which may count its calls."""
    load, code = chosen.load, spec.plugins
    if deterministic or load.strategy != "single" or spec.method.kind not in KINDS or code.loss or code.trainer or spec.data.streaming:
        return None
    sizes = tuple(rows for rows in _multiples(chosen) if _is_faster(rows, found, chosen))
    if not sizes:
        return None
    why = "at the first checkpoint, if the memory that was measured until then leaves room; rows of a step and loss stay the same"
    decisions.append(Decision(field="rows at once", value=f"up to {sizes[-1]}", why=why, source="docs/measured.md"))
    return Raising(sizes=sizes, room_bytes=_room(chosen))


def _multiples(chosen: Option) -> list[int]:
    """Whole micro-batches together, as many in each part of a step."""
    micro, parts = chosen.load.micro_batch, chosen.accumulation
    return [micro * times for times in range(2, parts + 1) if parts % times == 0 and micro * times <= MAX_MICRO_BATCH]


def _is_faster(rows: int, found: Sequence[Option], chosen: Option) -> bool:
    """By the time model; where that knows no rates more at once counts as faster."""
    if chosen.speed is None:
        return True
    alike = [one for one in found if _way(one) == _way(chosen) and one.load.micro_batch == rows]
    return any(one.speed and one.speed.rate > chosen.speed.rate for one in alike)


def _way(option: Option) -> tuple[object, ...]:
    load = option.load
    return load.adapter, load.strategy, load.gradient_checkpointing, load.kernels


def _room(chosen: Option) -> int:
    """Bytes, by the margin that every plan keeps."""
    room = MARGIN * chosen.fit.room_gib * GIB
    return round((room - CONTEXT_GIB * GIB) / (1 + FRAGMENTS) if chosen.load.on_gpu else room)
