"""Plan of the stage export: trained weights into one folder that any engine loads, and from there into the formats with fewer bits."""

from typing import cast

from entrypoint.plan.compress import compress_job, compress_words
from entrypoint.plan.counted_shape import shape_of
from entrypoint.plan.device import check_image
from entrypoint.plan.export_memory import disk_of, memory_decisions
from entrypoint.plan.inputs import Inputs
from entrypoint.plan.step import make_step
from schemas.errors import UsageError
from schemas.export import AdapterOnly, Export, Safetensors
from schemas.export_job import ExportJob, ExportKind
from schemas.facts import Facts
from schemas.job import AdapterJob
from schemas.plan import Decision, Plan, Step
from schemas.spec import Spec

GOLDEN_TOKENS = 24
"""Tokens of each greedy answer that merged weights and adapter on base must share."""

QUANTISED = ("qlora",)
"""Adapters that are trained over a base in NF4."""

MERGED = Safetensors(kind="safetensors")
"""Made where an entry needs it and the spec does not name it."""


def plan_export(spec: Spec, facts: Facts, inputs: Inputs) -> Plan:
    """A step for each entry of the spec, the merged model first where there is one: the others are made from it."""
    _refuse(spec)
    check_image(facts)
    steps, decisions = [], []
    base_job = _base_job(spec, inputs)
    entries = ordered(spec)
    merges = isinstance(entries[0], Safetensors)
    for at, entry in enumerate(entries):
        step, found = _step(spec, entry, base_job, facts, inputs, made_from_merged=merges and at > 0)
        steps.append(step)
        decisions += found
    if len(spec.export) > 1 or spec.serve.export:
        why = "set in the spec" if spec.serve.export else "the first model of export"
        decisions.append(Decision(field="serve.export", value=served_entry(spec).called, why=why))
    decisions += memory_decisions(spec, facts, [cast(ExportJob, step.job) for step in steps])
    return Plan(name=spec.name, steps=tuple(steps), decisions=tuple(decisions))


def ordered(spec: Spec) -> tuple[Export, ...]:
    """The entries as they are made: the first merged one before all others, added where one with fewer bits needs it."""
    merged = next((entry for entry in spec.export if isinstance(entry, Safetensors)), None)
    if merged is None and all(isinstance(entry, AdapterOnly) for entry in spec.export):
        return spec.export
    first = merged or MERGED
    return (first, *(entry for entry in spec.export if entry is not merged))


def served_step(spec: Spec, plan: Plan) -> Step:
    """The step whose artifact is served: the entry that `serve.export` names, or the first model of the spec."""
    return plan.steps[ordered(spec).index(served_entry(spec))]


def served_entry(spec: Spec) -> Export:
    """What serve takes of `export`. An adapter alone is served on a base that another spec names, so it is taken only where nothing else is there."""
    models = tuple(entry for entry in spec.export if not isinstance(entry, AdapterOnly))
    wanted = spec.serve.export or (models or spec.export)[0].called
    found = next((entry for entry in spec.export if entry.called == wanted), None)
    if found is None or (isinstance(found, AdapterOnly) and spec.serve.export):
        what = f"no entry of export is called {wanted}" if found is None else f"{wanted} is an adapter alone, which is served by `serve.adapters`"
        raise UsageError(f"serve.export: {what}", f"write one of: {', '.join(entry.called for entry in models)}" if models else "take it out")
    return found


def check_served(inputs: Inputs) -> None:
    """Raise UsageError where what would be served is no model."""
    if inputs.exported and inputs.exported.manifest.job.get("kind") == "adapter":
        raise UsageError(
            "serve: export wrote the adapter alone, and an engine needs a model",
            "add `- kind: safetensors` to export, or serve it by a spec of its base with `serve.adapters`",
        )


def _refuse(spec: Spec) -> None:
    for at, entry in enumerate(spec.export):
        if spec.method.kind == "reward" and not isinstance(entry, Safetensors):
            raise UsageError(f"export.{at}.kind: {entry.kind}, but a reward model has a head that is not quantised in this version", "write kind: safetensors")
        if isinstance(entry, AdapterOnly) and spec.adapter.kind in ("full", "freeze"):
            raise UsageError(f"export.{at}.kind: adapter, but adapter.kind {spec.adapter.kind} trains the model's own weights", "write kind: safetensors")


def _base_job(spec: Spec, inputs: Inputs) -> ExportJob:
    """What all entries have in common: how the trained weights came to be."""
    trained = inputs.trained.manifest if inputs.trained else None
    job = trained.job if trained and trained.stage == "train" else {}
    kind = AdapterJob.model_validate(job["adapter"]).kind if "adapter" in job else spec.adapter.kind
    on_nf4 = kind in QUANTISED
    return ExportJob(
        kind="safetensors",
        dtype="bf16",
        golden_tokens=GOLDEN_TOKENS,
        trained_on="nf4" if on_nf4 else "full",
        precision=job.get("precision", "fp32") if on_nf4 else "fp32",
        base=trained.inputs.get("model", "") if trained else "",
    )


def _step(spec: Spec, entry: Export, base: ExportJob, facts: Facts, inputs: Inputs, *, made_from_merged: bool) -> tuple[Step, list[Decision]]:
    field = f"export.{spec.export.index(entry)}" if entry in spec.export else "export"
    folder, wanted = f"{spec.name}/exports", {"export": entry.model_dump(mode="json", exclude={"name"})}
    shape = shape_of(facts.models.get(spec.model.source))
    kind: ExportKind = entry.kind
    named = f", called {entry.name}" if entry.name else ""
    if isinstance(entry, Safetensors):
        into = entry.merge_into or ("measured" if base.trained_on == "nf4" else "full")
        if into == "nf4" and base.trained_on == "full":
            raise UsageError(f"{field}.merge_into: nf4, but the adapter is not trained over NF4 weights", "leave it out")
        job = base.model_copy(update={"merge_into": into})
        title = ("reward model, merged" if spec.method.kind == "reward" else "merged") + f" bf16 safetensors{named}"
        roles: tuple[str, ...] = ("model", "prepared", "trained")
        step = make_step(job, title, folder, facts, inputs, roles, wanted, disk_bytes=disk_of(shape, "bf16", copies=2 if into == "measured" else 1))
        return step, _merge_decisions(spec, entry, field, into, implied=entry not in spec.export)
    if isinstance(entry, AdapterOnly):
        job = base.model_copy(update={"kind": kind})
        roles = ("model", "prepared", "trained", *(("merged",) if made_from_merged else ()))
        decision = Decision(field=f"{field}.kind", value="the adapter, as trained", why="served on its base, beside other adapters of it")
        return make_step(job, f"adapter with its golden answers{named}", folder, facts, inputs, roles, wanted), [decision]
    compress = compress_job(spec, entry, facts)
    job = base.model_copy(update={"kind": kind, "compress": compress})
    step = make_step(
        job, f"{kind} ({compress.scheme}){named}", folder, facts, inputs, ("prepared", "merged"), wanted, leaf="compress", disk_bytes=disk_of(shape, kind)
    )
    return step, compress_words(entry, compress, field, facts)


def _merge_decisions(spec: Spec, entry: Export, field: str, into: str, implied: bool) -> list[Decision]:
    why = "merged into the full-precision base: no adapter cost when served"
    if into == "measured":
        why = "merged into the full-precision base and into the NF4 weights it was trained on; what is nearer on the golden prompts is kept"
    elif into == "nf4":
        why = "merged into the NF4 weights that it was trained on, set in the spec"
    if implied:
        why += "; not in the spec, but what the others are made from"
    found = [Decision(field=f"{field}.kind" if not implied else "export", value="safetensors, bf16", why=why)]
    if spec.method.kind == "reward":
        why = "the head goes with the model; before and after the merge rewards are compared, as there are no answers"
        found.append(Decision(field=f"{field}.kind", value="a sequence classifier with one output", why=why))
    return found
