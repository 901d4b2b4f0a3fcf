"""How fast a choice is, how long it takes, and what it was weighed against, for people."""

import math
from collections.abc import Callable
from typing import Any

from entrypoint.plan.accelerators import find_kind, tabled_rates
from entrypoint.plan.batch import Rows
from entrypoint.plan.choose import Option, against, rounded
from entrypoint.plan.history import Expected
from entrypoint.plan.load import Load
from entrypoint.plan.offload import why_strategy
from entrypoint.plan.tables import KERNELS
from schemas.facts import Facts
from schemas.plan import Decision
from schemas.rates import Rates
from schemas.spec import Spec

CALIBRATE = "run `caisson calibrate` on this machine"


def rates_of(facts: Facts) -> Rates | None:
    """As this machine was measured, else as tables have its slowest accelerator; None where neither knows it."""
    if facts.rates or not facts.accelerators:
        return facts.rates
    found = [tabled_rates(one) for one in facts.accelerators]
    known = [rates for rates in found if rates]
    return min(known, key=lambda rates: max(rates.matmul_tflops.values())) if len(known) == len(found) else None


def show_speed(spec: Spec, facts: Facts, chosen: Option, rates: Rates | None, rows: Rows, expected: Expected | None) -> list[Decision]:
    """Lines `speed` and, where the number of steps is known, `time`."""
    if rates is None or chosen.speed is None or expected is None:
        what = "a CPU's rates are not tabled" if not facts.accelerators else f"{facts.oldest.name} is not in the table of accelerators"
        return [Decision(field="speed", value="not estimated", why=f"{what}: {CALIBRATE}")]
    speed = chosen.speed
    shares = ", ".join(f"{name} {seconds / speed.seconds:.0%}" for name, seconds in _largest(speed.parts) if seconds >= 0.005 * speed.seconds)
    why = f"a step of {rounded(speed.tokens)} tokens takes {duration(expected.seconds)}: {shares}; {expected.words}"
    parts = {name: round(seconds, 4) for name, seconds in _largest(speed.parts)}
    found = [Decision(field="speed", value=f"{rounded(speed.tokens / expected.seconds)} tok/s", why=why, source=rates.source.partition(";")[0], parts=parts)]
    steps = step_count(spec, rows, chosen)
    if steps is None:
        seconds = 1e6 * expected.seconds / speed.tokens
        told = "; ".join([f"a million tokens take {duration(seconds)}", *_costs(spec, facts, seconds)])
        return [*found, Decision(field="time", value="not known", why=f"prepare has not counted the rows yet; {told}")]
    seconds = steps * expected.seconds
    return [*found, Decision(field="time", value=duration(seconds), why="; ".join([f"{steps:,} steps", *_costs(spec, facts, seconds)]))]


def step_count(spec: Spec, rows: Rows, chosen: Option) -> int | None:
    """Optimizer steps as the trainer counts them; None where the rows are not counted."""
    if spec.train.max_steps:
        return spec.train.max_steps
    if rows.count is None:
        return None
    in_step = chosen.load.micro_batch * chosen.accumulation * chosen.load.ranks
    return max(1, math.ceil(spec.train.epochs * math.ceil(rows.count / in_step)))


def duration(seconds: float) -> str:
    """Two units at most."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 100:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours < 48 else f"{hours // 24} days {hours % 24} h"


def _costs(spec: Spec, facts: Facts, seconds: float) -> list[str]:
    """Energy where the table has watts, and money where the spec has a price."""
    hours, nodes, found = seconds / 3600, spec.hardware.nodes, []
    kinds = [find_kind(one.name) for one in facts.accelerators]
    watts = [kind.watts for kind in kinds if kind and kind.watts]
    if watts and len(watts) == len(kinds):
        total = nodes * sum(watts)
        found.append(f"at most {rounded(total * hours / 1000)} kWh, {total:,.0f} W of accelerators at full power")
    if spec.hardware.price:
        found.append(f"costs {rounded(spec.hardware.price * nodes * hours)} at hardware.price {spec.hardware.price:g} an hour and machine")
    return found


def show_choice(spec: Spec, facts: Facts, found: list[Option], chosen: Option) -> list[Decision]:
    """A line for each thing that was chosen: why, and the best of those without it."""
    load = chosen.load
    kind = "set in the spec" if spec.adapter.kind != "auto" else "the first of lora, qlora that fits"
    strategy = "set in the spec" if spec.hardware.strategy else _why_strategy(load, facts)
    again = "set in the spec"
    if spec.train.gradient_checkpointing is None:
        again = {
            True: "activations do not fit without, or only in slower parts",
            "selective": "those of every second layer are kept",
            False: "memory suffices to keep activations",
        }[load.gradient_checkpointing]
    return [
        Decision(field="adapter.kind", value=load.adapter, why=kind + _beside(found, chosen, lambda one: one.adapter, lambda one: one.adapter)),
        Decision(
            field="hardware.strategy", value=f"{load.strategy}, {load.ranks} process(es)",
            why=strategy + _beside(_same(found, chosen, "adapter"), chosen, lambda one: one.strategy, lambda one: one.strategy),
        ),
        Decision(
            field="train.gradient_checkpointing", value=str(load.gradient_checkpointing).lower(),
            why=again + _beside(_same(found, chosen, "adapter", "strategy"), chosen, lambda one: one.gradient_checkpointing, _recomputes),
        ),
        *_show_kernels(spec, found, chosen),
    ]  # fmt: skip


def _show_kernels(spec: Spec, found: list[Option], chosen: Option) -> list[Decision]:
    """Nothing where there was nothing to choose and nothing was said: on CPUs, and for models without Liger's kernels."""
    if spec.train.kernels is None and not any(option.load.kernels == "liger" for option in found):
        return []
    load = chosen.load
    why = "set in the spec" if spec.train.kernels else "the faster" if chosen.speed else "as they come: no rates are known"
    return [
        Decision(
            field="train.kernels", value=load.kernels,
            why=why + _beside(_same(found, chosen, "adapter", "strategy"), chosen, lambda one: one.kernels, lambda one: f"{one.kernels}, {one.micro_batch} at once,"),
            source="Liger " + KERNELS["liger"]["version"] if load.kernels == "liger" else "",
        )
    ]  # fmt: skip


def larger_parts(found: list[Option], chosen: Option) -> str:
    """The next number of rows at once that is larger, and why it was not taken; empty without one."""
    same = _same(found, chosen, "adapter", "strategy", "gradient_checkpointing", "kernels")
    larger = [option for option in same if option.load.micro_batch > chosen.load.micro_batch]
    if not larger:
        return ""
    other = min(larger, key=lambda option: option.load.micro_batch)
    return f"; {other.load.micro_batch} x {other.accumulation} {other.words}"


def _same(found: list[Option], chosen: Option, *names: str) -> list[Option]:
    return [option for option in found if all(getattr(option.load, name) == getattr(chosen.load, name) for name in names)]


def _beside(found: list[Option], chosen: Option, differs: Callable[[Load], Any], words: Callable[[Load], str]) -> str:
    other = against(found, chosen, differs)
    if other is None:
        return ""
    return f"; {words(chosen.load)} {chosen.words}, {words(other.load)} {other.words}"


def _recomputes(load: Load) -> str:
    with_it = {True: "with", "selective": "with selective", False: "without"}[load.gradient_checkpointing]
    return f"{with_it} recomputation, {load.micro_batch} at once,"


def _largest(parts: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(parts.items(), key=lambda part: -part[1])


def _why_strategy(load: Load, facts: Facts) -> str:
    """Of an automatic choice."""
    if load.offload != "none":
        return why_strategy(load)
    gpus = f"{len(facts.accelerators)} GPUs" if facts.accelerators else "CPUs"
    if load.nodes > 1:
        gpus = f"{load.nodes} nodes of {gpus}"
    return {
        "single": "one device",
        "ddp": f"{gpus}, and a whole copy fits on each",
        "zero2": f"{gpus}; gradients and optimizer in shares",
        "zero3": f"{gpus}; weights in shares",
    }[load.strategy]
