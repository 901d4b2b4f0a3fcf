"""Spec + store + machine -> the plan of a stage, over the artifacts that are sealed so far."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from entrypoint.documents import read_document
from entrypoint.plan import Inputs, check_served, plan_evaluate, plan_export, plan_fetch, plan_prepare, plan_serve, plan_train, served_step, trained_elsewhere
from entrypoint.plan.answers import check_way_out
from entrypoint.plan.fetch import fetched_roles, places_of, refuse_absent, refuse_config, refuse_unknown, row_sources, template_file
from entrypoint.plan.plugins import check_code, code_sources
from entrypoint.plan.resume import resume_decision
from entrypoint.plan.serve import passed_over
from entrypoint.plan.suites import suite_sources
from entrypoint.plan.tables import LOCKS
from entrypoint.probe import key_file, look, probe, read_model
from entrypoint.run.checkpoints import CHECKPOINTS, newest_sealed
from entrypoint.run.code_files import find_code, look_at_code
from entrypoint.run.gateway_keys import read_keys
from entrypoint.run.promotion import read_current
from entrypoint.run.sources import check_local
from entrypoint.run.store import Store
from entrypoint.served import with_served
from schemas.errors import CaissonError, GateRefused, SpecError, UsageError
from schemas.facts import Facts
from schemas.load import load
from schemas.manifest import Sealed
from schemas.method import teacher_of
from schemas.plan import Plan, Stage, Step
from schemas.plugins import KINDS
from schemas.spec import Spec

STAGES: tuple[Stage, ...] = ("fetch", "prepare", "train", "export", "serve", "evaluate")
MAKES = {"prepare": ("prepared", "answers"), "train": ("trained",), "export": ("exported",)}
"""The roles in which artifacts of a stage's steps are read by later ones."""


@dataclass(frozen=True)
class Chain:
    """What every stage of a spec would do now, in order."""

    spec: Spec
    facts: Facts
    inputs: Inputs
    plans: dict[Stage, Plan]
    errors: dict[Stage, CaissonError]
    """Stages that this machine or this spec cannot plan, with the reason."""

    refusals: tuple[tuple[Stage, CaissonError], ...] = ()
    """What stages that can be planned will refuse once they run, as far as a look tells."""

    def plan(self, stage: Stage) -> Plan:
        """The plan of one stage; raises why there is none, or what has to run before."""
        if stage in self.errors:
            raise self.errors[stage]
        plan = self.plans[stage]
        if not plan.steps[0].identity:  # a further step may wait for the first
            missing = next(s for s in STAGES if not self._made(s))
            raise UsageError(
                f"{stage}: {missing} has not finished for this spec",
                f"run `docker compose run --rm {stage}`, which runs what comes before it, or `caisson {missing}`",
            )
        return plan

    def _made(self, stage: Stage) -> bool:
        if stage == "fetch":
            return all(getattr(self.inputs, role) is not None for role in fetched_roles(self.spec))
        if stage not in self.plans or stage not in MAKES:
            return stage in MAKES and getattr(self.inputs, MAKES[stage][0]) is not None
        return all(getattr(self.inputs, role) is not None for role, _ in zip(MAKES[stage], self.plans[stage].steps, strict=False))

    def folder(self, role: str) -> str:
        """Folder of a sealed artifact, relative to the store."""
        sealed: Sealed | None = getattr(self.inputs, role)
        if sealed is None:
            stage = next((s for s, made in MAKES.items() if role in made), "fetch")
            raise UsageError(f"{stage} has not finished for this spec", f"run `docker compose run --rm {stage}`, or `caisson {stage}`")
        return sealed.folder

    def merged(self) -> Plan:
        """One plan of all stages, for reading."""
        plans = list(self.plans.values())
        every = (*self.refusals, *self.errors.items())
        waiting = tuple(error.what if error.what.startswith(f"{stage}: ") else f"{stage}: {error.what}" for stage, error in every)
        return Plan(
            name=self.spec.name,
            steps=tuple(s for p in plans for s in p.steps),
            decisions=tuple(d.model_copy(update={"stage": stage}) for stage, p in self.plans.items() for d in p.decisions),
            engine=tuple(s for p in plans for s in p.engine),
            waiting=waiting,
            remedies=tuple(error.fix or "" for _, error in every),
        )


def read_spec(path: Path) -> Spec:
    """The spec of a file; raises SpecError for what is wrong in it and UsageError for a file that cannot be read."""
    return load(read_document(path, "spec file", "name a spec file; examples are in specs/"), path.name)


def machine(spec: Spec, store: Store) -> Facts:
    """Facts of this machine for one spec, with the model's config where it has been fetched or lies in a local folder."""
    models = [source for source in (spec.model.source, teacher_of(spec.method)) if source]
    others = [*row_sources(spec), *suite_sources(spec), *filter(None, [template_file(spec)])]
    facts = probe(store.root, (*models, *others), {source: Path(source) for source in models if "://" not in source})
    if facts.rates and facts.rates.image_lock not in ("", LOCKS["train"].get(facts.device, "")):  # other packages compute at another speed
        facts = facts.model_copy(update={"rates": None})
    facts = _with_code(facts, code_sources(spec, KINDS))
    steps = dict(zip(fetched_roles(spec), plan_fetch(spec, facts).steps, strict=True))
    for source, role in zip(models, ("model", "teacher"), strict=False):
        fetched = _find(steps[role], store, facts)
        if fetched and (found := read_model(store.root / fetched.folder)):
            facts = facts.model_copy(update={"models": {**facts.models, source: found}})
    for step in steps.values():
        if step.job.stage == "fetch" and step.job.role in ("preprocessor", "plugins") and (fetched := _find(step, store, facts)):
            facts = _with_fetched_code(facts, step.job.sources, store.root / fetched.folder)
    base = _find(steps["model"], store, facts)
    return with_served(facts, spec, store, store.root / base.folder if base else Path(spec.model.source))


def with_models(facts: Facts, spec: Spec, store: Store) -> Facts:
    """Recorded facts, with the configs of the spec's models that they do not know and that are at hand here: in a local folder, or in the store."""
    found = {}
    steps = dict(zip(fetched_roles(spec), plan_fetch(spec, facts).steps, strict=True))
    for source, role in ((spec.model.source, "model"), (teacher_of(spec.method), "teacher")):
        if source and source not in facts.models:
            fetched = store.find_request(steps[role].folder, steps[role].request)
            folders = [*([] if "://" in source else [Path(source)]), *([store.root / fetched.folder] if fetched else [])]
            if known := next(filter(None, map(read_model, folders)), None):
                found[source] = known
    return facts.model_copy(update={"models": {**facts.models, **found}})


def with_config(facts: Facts, spec: Spec, path: Path, store: Store) -> Facts:
    """With the spec's model as a config.json says, or that of a folder: for a model that has not been fetched. Raises UsageError."""
    known = read_model(path, store.root)
    if known is None:
        raise UsageError(f"--config: {path} is no config.json that can be read", "name the file that lies beside a model's weights, or their folder")
    refuse_config(known, f"--config: {path}")
    return facts.model_copy(update={"models": {**facts.models, spec.model.source: known}})


def _with_code(facts: Facts, sources: Iterable[str]) -> Facts:
    """With what is at hand of plug-ins: the state of their files, and what they define."""
    state = {source: look(str(find_code(source) or source)) for source in sources}
    code = {source: found for source in state if (found := look_at_code(source))}
    return facts.model_copy(update={"sources": {**facts.sources, **state}, "code": code})


def _with_fetched_code(facts: Facts, sources: tuple[str, ...], folder: Path) -> Facts:
    """With what was fetched of plug-ins, and not what lies there now: it is what will run."""
    code = {source: found for at, source in enumerate(sources) if (found := look_at_code(str(folder / f"{at:02d}.py")))}
    return facts.model_copy(update={"code": {**facts.code, **code}})


def last_stage(spec: Spec) -> Stage:
    """How far an overview goes: without rows that are held back there is nothing to evaluate, and nobody has asked to."""
    return "evaluate" if spec.data.validation else "serve"


def follow(spec: Spec, facts: Facts, store: Store, until: Stage = "serve") -> Chain:
    """Plan stage after stage, each over what the earlier ones have sealed."""
    inputs = Inputs()
    plans: dict[Stage, Plan] = {}
    errors: dict[Stage, CaissonError] = {}
    exported: Sealed | None = None
    for stage in STAGES[: STAGES.index(until) + 1]:
        try:
            own = inputs.exported
            if stage == "serve" and own:
                inputs = replace(inputs, exported=_current(store, spec.name, own))
            elif stage == "serve" and "export" in plans:
                _refuse_damaged(store, served_step(spec, plans["export"]))
            if stage == "evaluate":  # the spec's own, which with a gate is not served before it has passed
                plans[stage] = plan_evaluate(spec, facts, replace(inputs, exported=exported))
                continue
            plan = _plan(stage, spec, facts, inputs)
            if stage == "train":
                plan = _with_resume(plan, store, facts)
            if inputs.exported and own and inputs.exported != own:
                plan = plan.model_copy(update={"decisions": (*plan.decisions, passed_over(inputs.exported.folder, own.folder))})
        except SpecError:
            raise
        except CaissonError as error:
            errors[stage] = error
            if stage == "train":  # as in a container without a GPU, where export runs
                inputs = replace(inputs, trained=store.find_request(*trained_elsewhere(spec, inputs)))
            continue
        if stage == "fetch":
            inputs = replace(inputs, **dict(zip(fetched_roles(spec), (_find(step, store, facts) for step in plan.steps), strict=True)))
        elif stage == "export":
            plan, inputs = _with_exports(plan, spec, facts, store, inputs)
            exported = inputs.exported
        else:
            for at, role in enumerate(MAKES.get(stage, ())[: len(plan.steps)]):
                inputs = replace(inputs, **{role: _find(plan.steps[at], store, facts)})
                if at + 1 < len(plan.steps):  # the next step reads it
                    plan = _plan(stage, spec, facts, inputs)
        plans[stage] = plan
    return Chain(spec, facts, inputs, plans, errors)


def foresee(chain: Chain, store: Store, *, fetch_itself: bool = False) -> Chain:
    """The chain with what fetch will refuse of local sources, and the gateway of its keys: found by looking now, not after the stages between.

    Of sources that are out of sight the stages after fetch take what was sealed before; fetch itself does not.
    """
    found: list[tuple[Stage, CaissonError]] = []
    fetch = chain.plans["fetch"].steps if "fetch" in chain.plans else ()
    if fetch_itself:  # the stages that run it are not planned
        try:
            check_code(chain.spec, chain.facts)
        except CaissonError as error:
            found.append(("fetch", error))
    for step, sealed in zip(fetch, (getattr(chain.inputs, role) for role in fetched_roles(chain.spec)), strict=False):
        try:
            there = store.find(step) if fetch_itself else sealed
            if not there and step.job.stage == "fetch":
                refuse_absent([step], chain.facts)
                check_local(step.job)
                refuse_unknown(step, chain.facts)
        except CaissonError as error:
            found.append(("fetch", error))
    if "prepare" in chain.plans:
        try:
            check_way_out(chain.spec, chain.facts, chain.inputs)
        except CaissonError as error:
            found.append(("prepare", error))
    if (key := key_file()) and "serve" in chain.plans:
        try:
            read_keys(key)
        except CaissonError as error:
            found.append(("serve", error))
    return replace(chain, refusals=tuple(found))


def _plan(stage: Stage, spec: Spec, facts: Facts, inputs: Inputs) -> Plan:
    if stage == "fetch":
        return plan_fetch(spec, facts)
    if stage == "serve":
        check_served(inputs)
    makers = {"prepare": plan_prepare, "train": plan_train, "export": plan_export, "serve": plan_serve}
    return makers[stage](spec, facts, inputs)


def _with_exports(plan: Plan, spec: Spec, facts: Facts, store: Store, inputs: Inputs) -> tuple[Plan, Inputs]:
    """The plan of export over the merged model, where that is sealed, and what is served of it."""
    first = _find(plan.steps[0], store, facts)
    if first and first.manifest.job.get("kind") == "safetensors":
        inputs = replace(inputs, merged=first)
        plan = plan_export(spec, facts, inputs)
    return plan, replace(inputs, exported=_find(served_step(spec, plan), store, facts))


def _with_resume(plan: Plan, store: Store, facts: Facts) -> Plan:
    """The plan of train with the checkpoint that it will go on from."""
    step = plan.steps[0]
    found = newest_sealed(store.partial(step) / CHECKPOINTS, step.work_id) if step.identity and not store.find(step) else None
    return plan.model_copy(update={"decisions": (*plan.decisions, resume_decision(step, facts.program, *found))}) if found else plan


def _find(step: Step, store: Store, facts: Facts) -> Sealed | None:
    """Exactly this artifact. Else, where the machine decides the rest (train) or the source is out of sight from here
    (fetch), the newest that answers the same request."""
    sealed = store.find(step)
    if sealed is None and (step.stage == "train" or (step.job.stage == "fetch" and _out_of_sight(places_of(step.job), facts))):
        return store.find_request(step.folder, step.request)
    return sealed


def _current(store: Store, name: str, own: Sealed) -> Sealed:
    """The export that is served: the current one, which may be another than the spec's own."""
    current = read_current(store, name)
    if current is None or own.folder.endswith(f"/{current.export}"):
        return own
    found = next((sealed for sealed in store.sealed(f"{name}/exports") if sealed.folder.endswith(f"/{current.export}")), None)
    if found is None:
        folder, own_id = f"{name}/exports/{current.export}", own.folder.rpartition("/")[2]
        fix = f"`caisson promote SPEC {own_id}` serves that of this spec"
        if (store.root / folder).is_dir():
            raise GateRefused(f"serve: the current export {folder} is damaged: {_first_damage(store, folder)}", fix)
        raise UsageError(f"serve: the current export {folder} is gone", fix)
    return found


def _refuse_damaged(store: Store, step: Step) -> None:
    """What would be served is there, and is not as it was sealed. Raises GateRefused, and changes nothing: export makes it again."""
    folder = f"{step.folder}/{step.id}"
    if step.identity and (store.root / folder).is_dir():
        fix = "`docker compose run --rm export`, or `caisson export`, makes it again; then run this command again"
        raise GateRefused(f"serve: the export {folder} is damaged: {_first_damage(store, folder)}", fix)


def _first_damage(store: Store, folder: str) -> str:
    """What is wrong with an artifact that is not whole."""
    return next(iter(store.damage(folder)), "it is not the one that its name says")


def _out_of_sight(sources: tuple[str, ...], facts: Facts) -> bool:
    return any(source in facts.sources and facts.sources[source].kind in ("missing", "unreadable") for source in sources)
