"""Plan of the stage train: adapter, strategy, precision and batch, each with its reason."""

from dataclasses import replace
from typing import Any

from entrypoint.plan import engine
from entrypoint.plan.adapter import adapter_job, adapter_kinds, check_adapter, goes_with, layers_of, rank_of, tables_of
from entrypoint.plan.answers import asked_of
from entrypoint.plan.batch import Rows, batch_rows, checkpoint_every
from entrypoint.plan.deepspeed import deepspeed, nested
from entrypoint.plan.device import check_device, decide_precision, show_unlike
from entrypoint.plan.fit import Fit, fit_of, predicted_of, refuse_all, show_memory
from entrypoint.plan.fully_shard import fully_shard
from entrypoint.plan.history import known_speed, setting, show_known
from entrypoint.plan.identity import request_of, work_of
from entrypoint.plan.inputs import Inputs
from entrypoint.plan.memory import Load, live_weights, optimizer_bytes, trained_weights
from entrypoint.plan.method import check_method, learning_rate, method_job, needs_of, show_method, show_teacher, teacher_weights
from entrypoint.plan.model_shape import ModelShape, read_shape
from entrypoint.plan.nodes import check_nodes
from entrypoint.plan.offload import AUTOMATIC, check_offload, show_disk, why_strategy
from entrypoint.plan.optimisation import check_optimizer, optimisation_job, strategies, validation_job
from entrypoint.plan.packing import pack_rows
from entrypoint.plan.plugins import OF_TRAIN, check_code, check_plugins, plugin_jobs
from entrypoint.plan.prepare import FALLBACK_LENGTH, prepare_job, row_limit
from entrypoint.plan.saves import COMPOSE_GRACE, saves_of, show_stop
from entrypoint.plan.step import make_step
from entrypoint.plan.streaming import check_streaming, stream_roles
from entrypoint.plan.track import plan_track
from schemas.errors import UsageError
from schemas.facts import Facts
from schemas.job import AdapterJob, Predicted, TrainJob
from schemas.manifest import PreparedSummary
from schemas.method import teacher_of
from schemas.plan import Decision, Plan
from schemas.spec import Spec

MAX_MICRO_BATCH = 64
"""Rows a rank computes at once; beyond this a step gets no faster on any card that was measured."""

CPU_RANKS = 2
"""Processes of a multi-process strategy on CPUs: enough to exercise it; a CPU gains nothing from more. Several nodes have one each."""


def roles_of(spec: Spec) -> tuple[str, ...]:
    """What the step reads."""
    teacher, code = teacher_of(spec.method), plugin_jobs(spec, OF_TRAIN)
    answers = ("answers",) if asked_of(spec) else ()
    return ("model", "prepared", *answers, *(("teacher",) if teacher else ()), *(("plugins",) if code else ()), *stream_roles(spec))


def plan_train(spec: Spec, facts: Facts, inputs: Inputs) -> Plan:
    """One step over the fetched model and the prepared shards."""
    check_device(facts)
    check_plugins(spec)
    decisions: list[Decision] = [*show_unlike(facts), *check_code(spec, facts, OF_TRAIN)]
    check_offload(spec)
    check_optimizer(spec, facts)
    check_nodes(spec, facts, decisions)
    check_streaming(spec)
    rows = pack_rows(spec, facts, _rows(spec, facts, inputs), decisions)
    precision = decide_precision(spec, facts, decisions)
    known = facts.models.get(spec.model.source)
    shape = read_shape(known.config) if known else None
    check_adapter(spec, shape)
    fit = _fit(spec, facts, shape, rows, precision, decisions)
    step_rows = batch_rows(spec, rows, fit.load.ranks, decisions)
    micro, accumulation = _micro_batch(fit, shape, step_rows, rows, decisions)
    check_method(spec, fit.load.adapter, fit.load.strategy, fit.load.offload)
    decisions += [*show_method(spec.method, fit.load.adapter), *show_teacher(spec, facts)]
    adapter = adapter_job(spec, fit.load, decisions)
    settings = fully_shard(fit.load) or deepspeed(
        fit.load, micro, accumulation, spec.train.max_grad_norm, live=live_weights(shape) if shape else None, pin=fit.may_pin
    )
    decisions += show_disk(shape, fit.load, facts) if shape else []
    trained = trained_weights(shape, fit.load) if shape else 0
    kept = optimizer_bytes(shape, fit.load) / trained if shape and trained else 8.0
    track = plan_track(spec, facts, decisions)
    saves = saves_of(trained, fit.load, facts, any(tracker.online for tracker in track), kept)
    job = TrainJob(
        method=method_job(spec.method),
        adapter=adapter,
        device=facts.device,
        strategy=fit.load.strategy,
        ranks=fit.load.ranks,
        engine=nested(settings),
        offload=fit.load.offload,
        nodes=fit.load.nodes,
        precision=precision,
        epochs=spec.train.epochs,
        max_steps=spec.train.max_steps,
        learning_rate=learning_rate(spec, adapter.kind, decisions),
        optimisation=optimisation_job(spec, decisions),
        validation=validation_job(spec, inputs, decisions),
        weight_decay=spec.train.weight_decay,
        max_grad_norm=spec.train.max_grad_norm,
        micro_batch=micro,
        validation_rows=spec.train.validation.batch_rows or micro,
        accumulation=accumulation,
        pack_length=rows.pack,
        gradient_checkpointing=fit.load.gradient_checkpointing,
        checkpoint_every=checkpoint_every(spec, rows, micro * accumulation * fit.load.ranks, saves, decisions),
        checkpoint_seconds=60 * spec.train.checkpoint.every_minutes if spec.train.checkpoint.every_minutes else None,
        checkpoint_apart=None if spec.train.checkpoint.every else saves.apart,
        deterministic=_deterministic(spec, facts, decisions),
        max_bad_steps=spec.train.max_bad_steps,
        watchdog_times=spec.train.watchdog.times,
        watchdog_seconds=spec.train.watchdog.at_least_seconds,
        keep=spec.train.checkpoint.keep,
        seed=spec.train.seed,
        stream=prepare_job(spec, facts, "rest") if spec.data.streaming else None,
        plugins=plugin_jobs(spec, OF_TRAIN),
        track=track,
        predicted=_predicted(spec, facts, fit, shape, micro, accumulation, adapter, decisions),
    )
    decisions += show_stop(saves)
    stop = max(COMPOSE_GRACE, saves.stop_seconds)
    # The stage's own image stays in the identity through its lock; threads and paths change no content.
    step = make_step(
        job, f"{adapter.kind} on {facts.device}", f"{spec.name}/train", facts, inputs, roles_of(spec), _wanted(spec),
        launcher=engine.launcher(fit.load, stop, spec.hardware.rendezvous, spec.name), environment=engine.environment(facts, fit.load, job.deterministic),
        stop_seconds=stop, work=_work(spec, job, inputs),
    )  # fmt: skip
    return Plan(name=spec.name, steps=(step,), decisions=tuple(decisions), engine=settings)


def trained_elsewhere(spec: Spec, inputs: Inputs) -> tuple[str, str]:
    """Folder and request under which another machine has sealed what this one cannot train."""
    _, contents = inputs.of(*roles_of(spec))
    return f"{spec.name}/train", request_of("train", _wanted(spec), contents) if len(contents) == len(roles_of(spec)) else ""


def _work(spec: Spec, job: TrainJob, inputs: Inputs) -> str:
    _, contents = inputs.of(*roles_of(spec))
    return work_of(job, contents, spec.train.batch_tokens) if len(contents) == len(roles_of(spec)) else ""


def _wanted(spec: Spec) -> dict[str, Any]:
    """What decides the weights; how often a run is saved and watched, and by which address nodes find each other or a teacher was asked, does not."""
    apart = {"train": {"checkpoint", "watchdog", "max_bad_steps"}, "hardware": {"rendezvous"}, "method": {"endpoint", "key_file", "requests"}}
    wanted = spec.model_dump(mode="json", include={"method", "adapter", "train", "hardware"}, exclude=apart)
    code = {kind: job.model_dump(mode="json") for kind, job in plugin_jobs(spec, OF_TRAIN).items()}
    if spec.data.streaming:
        wanted["data"] = spec.data.model_dump(mode="json")
    return {**wanted, "packing": spec.data.packing, "pack_length": spec.data.pack_length, "plugins": code}


def _rows(spec: Spec, facts: Facts, inputs: Inputs) -> Rows:
    limit, _ = row_limit(spec, facts)
    if inputs.prepared is None:
        # A model's positions say nothing of the rows: 131,072 of them would refuse machines on which the real rows train.
        longest = limit if spec.data.max_length else min(limit, FALLBACK_LENGTH)
        return Rows(None, float(longest), longest, assumed=True)
    counted = PreparedSummary.model_validate(inputs.prepared.manifest.summary).train
    if spec.data.streaming:
        return Rows(None, counted.tokens / counted.rows, limit, assumed=False, streamed=True)
    return Rows(counted.rows, counted.tokens / counted.rows, counted.longest, assumed=False, sizes=counted.sizes)


def _fit(spec: Spec, facts: Facts, shape: ModelShape | None, rows: Rows, precision: str, decisions: list[Decision]) -> Fit:
    """The first of the candidates, in order of preference, that fits."""
    candidates = _candidates(spec, facts, rows, precision)
    if shape is None:
        decisions.append(
            Decision(field="memory", value="not estimated", why="the model's config is not at hand before fetch, or does not describe a dense decoder")
        )
        return fit_of(None, candidates[0], facts)
    tried = [fit_of(shape, load, facts) for load in candidates]
    chosen = next((f for f in tried if f.fits), None)
    if chosen is None:
        refuse_all(spec.model.source, tried, shape, facts)
    first = tried[0]
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
        "zero2": f"{gpus}; the weights fit on each, gradients and optimizer only in shares",
        "zero3": f"{gpus}; the weights fit only in shares",
    }[load.strategy]


def _candidates(spec: Spec, facts: Facts, rows: Rows, precision: str) -> list[Load]:
    """Fastest first: whole copies before shards, kept activations before recomputed ones, 16-bit weights before 4-bit ones."""
    gpus = len(facts.accelerators)
    offload, nodes = spec.hardware.offload, spec.hardware.nodes
    automatic = AUTOMATIC if offload != "none" else ["single"] if gpus < 2 and nodes == 1 else ["ddp", "zero2", "zero3"]
    wanted = spec.hardware.strategy
    engines = [wanted] if wanted else strategies(spec, automatic)
    if wanted == "fsdp" and precision == "fp16":
        raise UsageError("hardware.strategy: fsdp does not scale losses, which fp16 needs", "use strategy: zero3, or ddp, with fp16")
    recompute = [False, True] if spec.train.gradient_checkpointing is None else [spec.train.gradient_checkpointing]
    found = []
    for kind in adapter_kinds(spec):
        needs = needs_of(spec.method, kind)
        for strategy in engines:
            if not goes_with(kind, strategy):
                continue
            ranks = 1 if strategy == "single" else nodes * gpus or max(nodes, CPU_RANKS)
            made = Load(
                kind, rank_of(spec), precision, strategy, ranks, needs.rows, rows.longest, False, bool(gpus), offload, nodes,
                sequences=needs.sequences, copy=needs.copy, logits=needs.logits, teacher=teacher_weights(spec, facts),
                layers=layers_of(spec), tables=tables_of(spec), optimizer=spec.train.optimizer, all_logits=bool(spec.train.label_smoothing or spec.plugins.loss or spec.plugins.metric),
            )  # fmt: skip
            found += [replace(made, gradient_checkpointing=again) for again in recompute]
    return found


def _micro_batch(fit: Fit, shape: ModelShape | None, step_rows: int, rows: Rows, decisions: list[Decision]) -> tuple[int, int]:
    """As few micro-batches as memory allows, of equal size, and of no fewer rows than the method needs at once."""
    share = -(-step_rows // fit.load.ranks)
    accumulation = -(-share // MAX_MICRO_BATCH)
    while shape and accumulation < share and not fit.with_rows(shape, -(-share // accumulation)).fits:
        accumulation += 1
    if -(-share // accumulation) < fit.load.micro_batch:
        accumulation = -(-share // fit.load.micro_batch)
    micro = max(fit.load.micro_batch, -(-share // accumulation))
    decisions.append(
        Decision(
            field="micro-batch x accumulation",
            value=f"{micro} x {accumulation}",
            why=f"{rows.words(step_rows)} a step over {fit.load.ranks} process(es), in as few parts as memory allows",
        )
    )
    if shape:
        decisions += show_memory(fit.with_rows(shape, micro))
    return micro, accumulation


def _predicted(
    spec: Spec, facts: Facts, fit: Fit, shape: ModelShape | None, micro: int, accumulation: int, adapter: AdapterJob, decisions: list[Decision]
) -> Predicted:
    """Memory by the formulas; time as it was measured before, where it was."""
    if shape is None:
        return Predicted()
    at_work = fit.with_rows(shape, micro)
    kind = method_job(spec.method).kind
    wanted = setting(at_work.load, facts.models[spec.model.source].config, facts, kind, adapter.rank, accumulation)
    known = known_speed(facts.history, wanted)
    decisions += show_known(known)
    return predicted_of(at_work).model_copy(update={"step_seconds": known.step_seconds if known else None})


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
