"""Plan of the stage train: adapter, strategy, precision and batch, each with its reason."""

from dataclasses import dataclass, replace
from typing import Any

from entrypoint.plan import engine
from entrypoint.plan.batch import Rows, batch_rows, checkpoint_every
from entrypoint.plan.device import check_device, decide_precision
from entrypoint.plan.identity import request_of
from entrypoint.plan.inputs import Inputs
from entrypoint.plan.memory import GIB, Load, training_bytes
from entrypoint.plan.model_shape import ModelShape, read_shape
from entrypoint.plan.prepare import FALLBACK_LENGTH, row_limit
from entrypoint.plan.step import make_step
from entrypoint.plan.tables import DEFAULTS
from entrypoint.plan.track import plan_track
from schemas.errors import MachineError, UsageError
from schemas.facts import Facts
from schemas.job import AdapterJob, TrainJob
from schemas.method import Full, Lora, Qlora
from schemas.plan import Decision, Plan
from schemas.spec import Spec

MARGIN = 0.90
"""Share of the memory that a plan may fill; the rest is for what the estimate leaves out."""

MAX_MICRO_BATCH = 64
"""Rows a rank computes at once; beyond this a step gets no faster on any card that was measured."""

CPU_RANKS = 2
"""Processes of a multi-process strategy on a CPU: enough to exercise it; a CPU gains nothing from more."""

ROLES = ("model", "prepared")


@dataclass(frozen=True)
class Fit:
    """A load, its bytes by term, and the memory it has to fit in, GiB."""

    load: Load
    terms: dict[str, float]
    room_gib: float

    @property
    def gib(self) -> float:
        return sum(self.terms.values()) / GIB

    @property
    def fits(self) -> bool:
        return self.gib <= MARGIN * self.room_gib


def plan_train(spec: Spec, facts: Facts, inputs: Inputs) -> Plan:
    """One step over the fetched model and the prepared shards."""
    decisions: list[Decision] = []
    check_device(facts)
    rows = _rows(spec, facts, inputs)
    precision = decide_precision(spec, facts, decisions)
    known = facts.models.get(spec.model.source)
    shape = read_shape(known.config) if known else None
    fit = _fit(spec, facts, shape, rows, precision, decisions)
    step_rows = batch_rows(spec, rows, fit.load.ranks, decisions)
    micro, accumulation = _micro_batch(fit, shape, step_rows, decisions)
    adapter = _adapter_job(spec, fit.load, decisions)
    job = TrainJob(
        method=spec.method.kind,
        adapter=adapter,
        device=facts.device,
        strategy=fit.load.strategy,
        ranks=fit.load.ranks,
        engine=engine.deepspeed(fit.load.strategy, precision, micro, accumulation, spec.train.max_grad_norm),
        precision=precision,
        epochs=spec.train.epochs,
        max_steps=spec.train.max_steps,
        learning_rate=_learning_rate(spec, adapter.kind, decisions),
        schedule=spec.train.schedule,
        warmup=spec.train.warmup,
        weight_decay=spec.train.weight_decay,
        max_grad_norm=spec.train.max_grad_norm,
        micro_batch=micro,
        accumulation=accumulation,
        gradient_checkpointing=fit.load.gradient_checkpointing,
        checkpoint_every=checkpoint_every(spec, rows, micro * accumulation * fit.load.ranks, _trained(shape, fit.load), decisions),
        checkpoint_seconds=60 * spec.train.checkpoint.every_minutes if spec.train.checkpoint.every_minutes else None,
        deterministic=_deterministic(spec, facts, decisions),
        max_bad_steps=spec.train.max_bad_steps,
        watchdog_times=spec.train.watchdog.times,
        watchdog_seconds=spec.train.watchdog.at_least_seconds,
        keep=spec.train.checkpoint.keep,
        seed=spec.train.seed,
        track=plan_track(spec, facts, decisions),
    )
    # The stage's own image stays in the identity through its lock; threads and paths change no content.
    step = make_step(
        job, f"{adapter.kind} on {facts.device}", f"{spec.name}/train", facts, inputs, ROLES, _wanted(spec),
        launcher=engine.launcher(fit.load), environment=engine.environment(facts, fit.load, job.deterministic),
    )  # fmt: skip
    return Plan(name=spec.name, steps=(step,), decisions=tuple(decisions))


def trained_elsewhere(spec: Spec, inputs: Inputs) -> tuple[str, str]:
    """Folder and request under which another machine has sealed what this one cannot train."""
    _, contents = inputs.of(*ROLES)
    return f"{spec.name}/train", request_of("train", _wanted(spec), contents) if len(contents) == len(ROLES) else ""


def _wanted(spec: Spec) -> dict[str, Any]:
    return {k: spec.model_dump(mode="json")[k] for k in ("method", "adapter", "train", "hardware")}


def _rows(spec: Spec, facts: Facts, inputs: Inputs) -> Rows:
    limit, _ = row_limit(spec, facts)
    if inputs.prepared is None:
        # A model's positions say nothing of the rows: 131,072 of them would refuse machines on which the real rows train.
        longest = limit if spec.data.max_length else min(limit, FALLBACK_LENGTH)
        return Rows(None, float(longest), longest, assumed=True)
    counted = inputs.prepared.manifest.summary["train"]
    return Rows(counted["rows"], counted["tokens"] / counted["rows"], counted["longest"], assumed=False)


def _fit(spec: Spec, facts: Facts, shape: ModelShape | None, rows: Rows, precision: str, decisions: list[Decision]) -> Fit:
    """The first of the candidates, in order of preference, that fits."""
    room = facts.accelerators[0].memory_gib if facts.accelerators else facts.ram_gib
    candidates = _candidates(spec, facts, rows, precision)
    if shape is None:
        decisions.append(
            Decision(field="memory", value="not estimated", why="the model's config is not at hand before fetch, or does not describe a dense decoder")
        )
        return Fit(candidates[0], {}, room)
    tried = [Fit(load, training_bytes(shape, load), room) for load in candidates]
    per_device = [replace(f, room_gib=room / (1 if load.on_gpu else load.ranks)) for f, load in zip(tried, candidates, strict=True)]
    chosen = next((f for f in per_device if f.fits), None)
    if chosen is None:
        smallest = min(per_device, key=lambda f: f.gib)
        where = "each GPU" if facts.device == "cuda" else ("this machine" if smallest.load.ranks == 1 else f"each of {smallest.load.ranks} processes")
        raise MachineError(
            f"{spec.model.source} does not fit: {smallest.load.adapter} with {smallest.load.strategy} at {rows.longest} tokens needs "
            f"{smallest.gib / MARGIN:.1f} GiB, {where} has {smallest.room_gib:.1f} GiB",
            _what_would_fit(smallest.load),
        )
    first = per_device[0]
    load = chosen.load
    lost = "" if chosen is first else f"; {first.load.adapter} {first.load.strategy} would need {first.gib:.1f} GiB"
    decisions.append(
        Decision(
            field="adapter.kind", value=load.adapter, why="set in the spec" if spec.adapter.kind != "auto" else f"the first of lora, qlora that fits{lost}"
        )
    )
    how = "set in the spec" if spec.hardware.strategy else _why_strategy(load, facts)
    decisions.append(Decision(field="hardware.strategy", value=f"{load.strategy}, {load.ranks} process(es)", why=how))
    wanted = spec.train.gradient_checkpointing
    why = (
        "set in the spec"
        if wanted is not None
        else ("activations do not fit without" if load.gradient_checkpointing else "memory suffices, recomputing would cost a third of the speed")
    )
    decisions.append(Decision(field="train.gradient_checkpointing", value=str(load.gradient_checkpointing).lower(), why=why))
    return chosen


def _what_would_fit(load: Load) -> str:
    """Neighbours that need less, the nearest first."""
    neighbours = {"full": ["adapter.kind: lora"], "lora": [] if load.strategy == "zero3" else ["adapter.kind: qlora"], "qlora": []}[load.adapter]
    return "; or ".join(["shorten data.max_length", *(f"use {n}" for n in neighbours), "plan for a larger machine with `caisson plan --facts`"])


def _why_strategy(load: Load, facts: Facts) -> str:
    """Of an automatic choice."""
    gpus = f"{len(facts.accelerators)} GPUs"
    return {
        "single": "one device",
        "ddp": f"{gpus}, and a whole copy fits on each",
        "zero2": f"{gpus}; the weights fit on each, gradients and optimizer only in shares",
        "zero3": f"{gpus}; the weights fit only in shares",
    }[load.strategy]


def _candidates(spec: Spec, facts: Facts, rows: Rows, precision: str) -> list[Load]:
    """Fastest first: whole copies before shards, kept activations before recomputed ones, 16-bit weights before 4-bit ones."""
    adapter = spec.adapter
    kinds = ["lora", "qlora"] if adapter.kind == "auto" else [adapter.kind]
    rank = (adapter.rank if isinstance(adapter, Lora) else None) or DEFAULTS["rank"]["value"]
    gpus = len(facts.accelerators)
    automatic = ["single"] if gpus < 2 else ["ddp", "zero2", "zero3"]
    strategies = [spec.hardware.strategy] if spec.hardware.strategy else automatic
    if isinstance(adapter, Qlora) and spec.hardware.strategy == "zero3":
        raise UsageError(
            "hardware.strategy: zero3 cannot shard 4-bit weights, so qlora does not go with it",
            "use strategy: ddp with qlora, or adapter.kind: lora with zero3",
        )
    recompute = [False, True] if spec.train.gradient_checkpointing is None else [spec.train.gradient_checkpointing]
    found = []
    for kind in kinds:
        for strategy in strategies:
            if kind == "qlora" and strategy == "zero3":
                continue
            ranks = 1 if strategy == "single" else (gpus or CPU_RANKS)
            found += [Load(kind, rank, precision, strategy, ranks, 1, rows.longest, again, bool(gpus)) for again in recompute]
    return found


def _micro_batch(fit: Fit, shape: ModelShape | None, step_rows: int, decisions: list[Decision]) -> tuple[int, int]:
    """The largest power of two that fits and divides the work of a rank without waste."""
    share = max(1, step_rows // fit.load.ranks)
    micro = 1
    while shape and micro * 2 <= min(share, MAX_MICRO_BATCH):
        larger = Fit(replace(fit.load, micro_batch=micro * 2), training_bytes(shape, replace(fit.load, micro_batch=micro * 2)), fit.room_gib)
        if not larger.fits:
            break
        micro *= 2
    accumulation = max(1, round(share / micro))
    decisions.append(
        Decision(
            field="micro-batch x accumulation",
            value=f"{micro} x {accumulation}",
            why=f"{step_rows} rows a step over {fit.load.ranks} process(es); the largest power of two in memory",
        )
    )
    if shape:
        final = Fit(replace(fit.load, micro_batch=micro), training_bytes(shape, replace(fit.load, micro_batch=micro)), fit.room_gib)
        terms = ", ".join(f"{name} {size / GIB:.2f}" for name, size in sorted(final.terms.items(), key=lambda t: -t[1]) if size / GIB >= 0.005)
        decisions.append(Decision(field="memory", value=f"{final.gib:.1f} of {final.room_gib:.1f} GiB", why=terms, source="formulas in docs/plan.md"))
    return micro, accumulation


def _adapter_job(spec: Spec, load: Load, decisions: list[Decision]) -> AdapterJob:
    adapter = spec.adapter
    if isinstance(adapter, Full) or load.adapter == "full":
        return AdapterJob(kind="full")
    given = adapter if isinstance(adapter, Lora) else Lora(kind="lora")
    alpha = given.alpha if given.alpha is not None else float(DEFAULTS["alpha_per_rank"]["value"] * load.rank)
    if given.rank is None:
        decisions.append(Decision(field="adapter.rank", value=str(load.rank), why="default", source=DEFAULTS["rank"]["source"]))
    if given.alpha is None:
        decisions.append(Decision(field="adapter.alpha", value=f"{alpha:g}", why="twice the rank", source=DEFAULTS["alpha_per_rank"]["source"]))
    if given.targets is None:
        decisions.append(Decision(field="adapter.targets", value="all-linear", why="every linear layer but the output head", source="QLoRA paper, section 4"))
    return AdapterJob(kind=load.adapter, rank=load.rank, alpha=alpha, dropout=given.dropout, targets=given.targets or "all-linear")


def _learning_rate(spec: Spec, adapter: str, decisions: list[Decision]) -> float:
    if spec.train.learning_rate is not None:
        return spec.train.learning_rate
    row = DEFAULTS["learning_rate"][spec.method.kind][adapter]
    decisions.append(
        Decision(field="train.learning_rate", value=f"{row['value']:g}", why=f"default for {spec.method.kind} with {adapter}", source=row["source"])
    )
    return float(row["value"])


def _deterministic(spec: Spec, facts: Facts, decisions: list[Decision]) -> bool:
    wanted = spec.train.deterministic
    value = facts.device == "cpu" if wanted is None else wanted
    if wanted is not None:
        why = "set in the spec"
    elif value:
        why = "a CPU's kernels are: a resumed run equals one that was never stopped, bit for bit"
    else:
        why = "some fast GPU kernels add in no fixed order: a resumed run loses no row, but its last bits differ"
    decisions.append(Decision(field="train.deterministic", value=str(value).lower(), why=why))
    return value


def _trained(shape: ModelShape | None, load: Load) -> int:
    """Weights that move; 0 where the model's shape is not known."""
    if shape is None:
        return 0
    return shape.parameters if load.adapter == "full" else shape.lora(load.rank)
