"""Plan of the stage train: adapter, strategy, precision and batch, each with its reason."""

from dataclasses import replace
from typing import Any

from entrypoint.plan import engine
from entrypoint.plan.adapter import adapter_job, check_adapter
from entrypoint.plan.answers import asked_of
from entrypoint.plan.batch import Rows, batch_rows, checkpoint_every
from entrypoint.plan.candidates import candidates
from entrypoint.plan.choose import Option, choose, options, sizes
from entrypoint.plan.counted_shape import shape_of, show_shape
from entrypoint.plan.deepspeed import deepspeed, nested
from entrypoint.plan.device import check_device, decide_precision, show_unlike
from entrypoint.plan.fit import fit_of, predicted_of, refuse_all, show_memory
from entrypoint.plan.fully_shard import fully_shard
from entrypoint.plan.history import Expected, expect, known_speed, setting, show_known
from entrypoint.plan.identity import request_of, work_of
from entrypoint.plan.inputs import Inputs
from entrypoint.plan.load import optimizer_bytes, trained_weights
from entrypoint.plan.memory import live_weights
from entrypoint.plan.method import check_method, check_settings, learning_rate, method_job, show_method, show_teacher
from entrypoint.plan.model_shape import ModelShape
from entrypoint.plan.nodes import check_nodes
from entrypoint.plan.offload import check_offload, show_disk
from entrypoint.plan.optimisation import check_optimizer, optimisation_job, validation_job
from entrypoint.plan.packing import pack_rows
from entrypoint.plan.plugins import OF_TRAIN, check_code, check_plugins, plugin_jobs
from entrypoint.plan.prepare import FALLBACK_LENGTH, prepare_job, row_limit
from entrypoint.plan.raising import raising
from entrypoint.plan.reasons import larger_parts, rates_of, show_choice, show_speed
from entrypoint.plan.saves import COMPOSE_GRACE, saves_of, show_stop
from entrypoint.plan.step import make_step
from entrypoint.plan.streaming import check_streaming, stream_roles
from entrypoint.plan.track import plan_track
from schemas.expected import Predicted, Raising
from schemas.facts import Facts, ModelFacts
from schemas.history import Setting
from schemas.job import TrainJob
from schemas.manifest import PreparedSummary
from schemas.method import teacher_of
from schemas.plan import Decision, Plan
from schemas.rates import Rates
from schemas.spec import Spec


def roles_of(spec: Spec) -> tuple[str, ...]:
    """What the step reads."""
    teacher, code = teacher_of(spec.method), plugin_jobs(spec, OF_TRAIN)
    answers = ("answers",) if asked_of(spec) else ()
    return ("model", "prepared", *answers, *(("teacher",) if teacher else ()), *(("plugins",) if code else ()), *stream_roles(spec))


def plan_train(spec: Spec, facts: Facts, inputs: Inputs) -> Plan:
    """One step over the fetched model and the prepared shards."""
    device = check_device(facts)
    check_plugins(spec)
    decisions: list[Decision] = [*show_unlike(facts), *check_code(spec, facts, OF_TRAIN)]
    check_offload(spec)
    check_optimizer(spec, facts)
    check_nodes(spec, facts, decisions)
    check_streaming(spec)
    rows = pack_rows(spec, facts, _rows(spec, facts, inputs), decisions)
    precision = decide_precision(spec, facts, decisions)
    known = facts.models.get(spec.model.source)
    shape = shape_of(known)
    decisions += show_shape(known, shape)
    check_adapter(spec, shape)
    check_settings(spec)
    chosen, raised = _choice(spec, facts, shape, rows, precision, decisions)
    fit, micro, accumulation = chosen.fit, chosen.load.micro_batch, chosen.accumulation
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
        device=device,
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
        kernels=fit.load.kernels,
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
        predicted=_predicted(spec, facts, chosen, shape, decisions),
        raising=raised,
    )
    decisions += show_stop(saves)
    stop = max(COMPOSE_GRACE, saves.stop_seconds)
    # The stage's own image stays in the identity through its lock; threads and paths change no content.
    step = make_step(
        job, f"{adapter.kind} on {facts.device}", f"{spec.name}/train", facts, inputs, roles_of(spec), _wanted(spec),
        launcher=engine.launcher(fit.load, stop, spec.hardware.rendezvous, spec.name), environment=engine.environment(facts, fit.load, job.deterministic),
        stop_seconds=stop, work=_work(spec, job, inputs), disk_bytes=saves.disk_bytes(job.keep),
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
    apart = {"train": {"checkpoint", "watchdog", "max_bad_steps"}, "hardware": {"rendezvous", "price"}, "method": {"endpoint", "key_file", "requests"}}
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


def _choice(spec: Spec, facts: Facts, shape: ModelShape | None, rows: Rows, precision: str, decisions: list[Decision]) -> tuple[Option, Raising | None]:
    """The fastest of all candidates that fits, and how far its rows at once may be raised; where the model cannot be counted the preferred one, in as few parts as goes."""
    loads = candidates(spec, facts, rows, precision)

    def step_rows(ranks: int) -> int:
        return batch_rows(spec, rows, ranks, [])

    if shape is None:
        decisions.append(Decision(field="memory", value="not estimated", why=_why_uncounted(facts.models.get(spec.model.source))))
        micro, parts = max(sizes(-(-step_rows(loads[0].ranks) // loads[0].ranks), loads[0].micro_batch))
        beside, found = "", []
        chosen = Option(fit_of(None, replace(loads[0], micro_batch=micro), facts), parts, 0)
    else:
        rates = rates_of(facts)
        found = options(loads, shape, facts, rates, rows, step_rows)
        best = choose(found)
        if best is None:
            refuse_all(spec.model.source, [option.fit for option in found], shape, facts)
        chosen, beside = best, larger_parts(found, best)
        decisions += [*show_speed(spec, facts, chosen, rates, rows, _expected(spec, facts, chosen, rates)), *show_choice(spec, facts, found, chosen)]
    step = batch_rows(spec, rows, chosen.load.ranks, decisions)
    how = "the fastest parts" if chosen.speed else "as few parts as memory allows" if shape else "as few parts as goes until memory is estimated"
    decisions.append(
        Decision(
            field="micro-batch x accumulation",
            value=f"{chosen.load.micro_batch} x {chosen.accumulation}",
            why=f"{rows.words(step)} a step over {chosen.load.ranks} process(es), in {how}{beside}",
        )
    )
    raised = raising(spec, found, chosen, _is_deterministic(spec, facts), decisions)
    if shape:
        decisions += show_memory(chosen.fit, shape)
    return chosen, raised


def _why_uncounted(known: ModelFacts | None) -> str:
    """And what would count it."""
    if known is None:
        return "the model's config is not at hand before fetch: `--config FILE` takes its config.json"
    return "its config.json does not describe a plain gated decoder: fetch counts it, or `docker compose run --rm train anatomy MODEL`"


def _expected(spec: Spec, facts: Facts, chosen: Option, rates: Rates | None) -> Expected | None:
    """Seconds of a step; None where no rates are known."""
    if chosen.speed is None or rates is None:
        return None
    how = "measured on this machine" if rates.measured_at else "from a table, not measured here"
    return expect(facts.history, _setting(spec, facts, chosen), chosen.speed.seconds, how)


def _setting(spec: Spec, facts: Facts, chosen: Option) -> Setting:
    return setting(chosen.load, facts.models[spec.model.source].config, facts, method_job(spec.method).kind, chosen.accumulation)


def _predicted(spec: Spec, facts: Facts, chosen: Option, shape: ModelShape | None, decisions: list[Decision]) -> Predicted:
    """Memory by the formulas; time as it was measured before, where it was, else by the time model."""
    if shape is None:
        return Predicted()
    known = known_speed(facts.history, _setting(spec, facts, chosen))
    decisions += show_known(known)
    expected = _expected(spec, facts, chosen, rates_of(facts))
    seconds = known.step_seconds if known else expected.seconds if expected else None
    return predicted_of(chosen.fit).model_copy(update={"step_seconds": seconds, "modelled_seconds": expected.modelled if expected else None})


def _is_deterministic(spec: Spec, facts: Facts) -> bool:
    return facts.device == "cpu" if spec.train.deterministic is None else spec.train.deterministic


def _deterministic(spec: Spec, facts: Facts, decisions: list[Decision]) -> bool:
    wanted, value = spec.train.deterministic, _is_deterministic(spec, facts)
    if wanted is not None:
        why = "set in the spec"
    elif value:
        why = "a CPU's kernels are: a resumed run equals one that was never stopped, bit for bit"
    else:
        why = "some fast GPU kernels add in no fixed order: a resumed run loses no row, but its last bits differ"
    decisions.append(Decision(field="train.deterministic", value=str(value).lower(), why=why))
    return value
