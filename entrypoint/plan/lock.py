"""A plan as a lock: what of it is held to, and how another plan differs from it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from schemas.errors import GateRefused, UsageError, shown
from schemas.facts import Facts
from schemas.lock import LockedMachine, LockedStep, PlanLock, make_lock
from schemas.plan import Plan, Step

BY_NATURE = {"train": ("checkpoint_apart", "predicted", "raising")}
"""Fields of a job that follow from a measurement of the machine, such as the speed of its disk: better known with each run, and no choice."""

GRACE = "--grace="
"""Of the launcher: how long a checkpoint takes on this disk."""

SPREAD = ("gradient_checkpointing", "strategy", "ranks", "offload", "adapter", "environment", "argv")
"""Of a training, what memory decides, and how its processes are started."""

ROWS = ("engine", "micro_batch", "validation_rows", "accumulation", "pack_length", "checkpoint_every", "validation")
"""Of a training, what the counts of rows decide."""

WAITING: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "train": {"prepared": ROWS, "model": SPREAD},
    "export": {"trained": ("trained_on", "precision", "base", "merge_into", "compress")},
    "serve": {"exported": ("arguments", "handover", "environment")},
    "evaluate": {"exported": ("arguments",)},
}
"""What an artifact decides of a step, by its role, where it is not sealed yet."""

SHOWN = 12
"""Differences that a refusal names."""


def lock_of(plan: Plan, facts: Facts) -> PlanLock:
    """The lock of a plan of every stage."""
    sources = [step.job.sources[0] for step in plan.steps if step.job.stage == "fetch" and step.job.role == "model"]
    known = all(source in facts.models for source in sources)
    return make_lock(plan.name, facts.program, _machine(facts), tuple(_locked(step, known) for step in plan.steps))


def check_lock(lock: PlanLock, plan: Plan, facts: Facts, where: str) -> None:
    """Raise GateRefused with every difference, where a plan is not what the lock holds for the stages that it has; UsageError for a lock of another run."""
    again = "go back to what the lock was written for, or accept today's plan: `caisson plan SPEC --lock` writes it anew"
    if lock.name != plan.name:
        raise UsageError(f"{where} is the lock of the run {lock.name}, and this spec is of {plan.name}", "name its own with --lock-file, or move the file away")
    if found := differences(lock, plan, facts):
        more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        raise GateRefused("\n    ".join([f"the plan is not the one that {where} holds:", *found[:SHOWN], *more]), again)


def differences(lock: PlanLock, plan: Plan, facts: Facts) -> list[str]:
    """Lines such as `train.micro_batch: 4 in the lock, 8 now`, for the stages of the plan."""
    found = []
    if lock.program != facts.program:
        found.append(_differs("program", lock.program, facts.program))
    found += _compared("machine", lock.machine.model_dump(), _machine(facts).model_dump(), ())
    for stage in dict.fromkeys(step.stage for step in plan.steps):
        then, today = [step for step in lock.steps if step.stage == stage], [_locked(step) for step in plan.steps if step.stage == stage]
        if [step.part for step in then] != [step.part for step in today]:
            found.append(_differs(f"{stage}", _parts(then), _parts(today)))
            continue
        for old, new in zip(then, today, strict=True):
            found += _step_differences(old, new)
    return found


def _step_differences(old: LockedStep, new: LockedStep) -> list[str]:
    name = f"{old.stage} {old.part}".strip()
    found = _compared(name, old.job, new.job, old.open)
    if "environment" not in old.open:
        found += _compared(f"{name} environment", old.environment, new.environment, ())
    if "argv" not in old.open and old.argv != new.argv:
        found.append(_differs(f"{name} argv", " ".join(old.argv), " ".join(new.argv)))
    if old.image_lock != new.image_lock:
        found.append(_differs(f"{name} image's packages", old.image_lock[:12], new.image_lock[:12]))
    known = {role: digest for role, digest in new.inputs.items() if role in old.inputs}
    changed = {role: (old.inputs[role], digest) for role, digest in known.items() if old.inputs[role] != digest}
    found += [_differs(f"{name} input {role}", then[:12], now[:12]) for role, (then, now) in changed.items()]
    return found


def _machine(facts: Facts) -> LockedMachine:
    kinds = Counter(f"{one.name}, {one.memory_gib:.0f} GiB, {one.compute_capability}" for one in facts.accelerators)
    return LockedMachine(device=facts.device, accelerators=tuple(f"{count} x {kind}" for kind, count in kinds.items()))


def _locked(step: Step, config_known: bool = True) -> LockedStep:
    job = step.job.model_dump(mode="json", exclude=set(BY_NATURE.get(step.stage, ())))
    del job["stage"]
    if step.job.stage == "serve":  # which artifact is the newest of a run is known only when it is served
        job["adapters"] = [adapter.name for adapter in step.job.adapters]
    return LockedStep(
        stage=step.stage,
        part=str(job.get("role" if step.stage == "fetch" else "kind", "")) if step.stage in ("fetch", "export") else "",
        job=job,
        environment=step.environment,
        argv=tuple(part for part in step.argv if not part.startswith(GRACE)),
        image_lock=step.image_lock,
        inputs=step.input_contents,
        open=tuple(sorted(_open(step, config_known))),
    )


def _open(step: Step, config_known: bool) -> Iterator[str]:
    """What an artifact decides that is not sealed yet; of a model its config is enough."""
    for role, fields in WAITING.get(step.stage, {}).items():
        if role not in step.input_contents and not (role == "model" and config_known):
            yield from fields


def _parts(steps: Sequence[LockedStep]) -> str:
    return ", ".join(step.part or "one step" for step in steps) or "nothing"


def _compared(name: str, old: Mapping[str, Any], new: Mapping[str, Any], open_fields: Sequence[str]) -> list[str]:
    """Differences of two JSON objects by their innermost keys."""
    found = []
    for key in dict.fromkeys([*old, *new]):
        then, now = old.get(key), new.get(key)
        if key in open_fields or then == now:
            continue
        if isinstance(then, Mapping) and isinstance(now, Mapping):
            found += _compared(f"{name}.{key}", then, now, ())
        else:
            found.append(_differs(f"{name}.{key}", then, now))
    return found


def _differs(name: str, then: Any, now: Any) -> str:
    return f"{shown(name)}: {_short(then)} in the lock, {_short(now)} now"


def _short(value: Any) -> str:
    if value is None:
        text = "not set"
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, list | tuple):
        text = ", ".join(map(str, value)) or "nothing"
    else:
        text = str(value) or "nothing"
    text = text if len(text) <= 120 else f"{text[:117]}..."
    return text if text.isprintable() else ascii(text)  # anybody may have written the lock
