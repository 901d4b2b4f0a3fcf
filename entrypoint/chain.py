"""Spec + store + machine -> the plan of a stage, over the artifacts that are sealed so far."""

from dataclasses import dataclass, replace
from pathlib import Path

from entrypoint.documents import read_document
from entrypoint.plan import Inputs, plan_export, plan_fetch, plan_prepare, plan_serve, plan_train, trained_elsewhere
from entrypoint.plan.fetch import row_sources
from entrypoint.probe import probe, read_model
from entrypoint.run.store import Store
from schemas.errors import CaissonError, SpecError, UsageError
from schemas.facts import Facts
from schemas.load import load
from schemas.manifest import Sealed
from schemas.plan import Plan, Stage, Step
from schemas.spec import Spec

STAGES: tuple[Stage, ...] = ("fetch", "prepare", "train", "export", "serve")
MAKES = {"prepare": "prepared", "train": "trained", "export": "exported"}
"""The role in which a stage's artifact is read by later ones."""


@dataclass(frozen=True)
class Chain:
    """What every stage of a spec would do now, in order."""

    spec: Spec
    facts: Facts
    inputs: Inputs
    plans: dict[Stage, Plan]
    errors: dict[Stage, CaissonError]
    """Stages that this machine or this spec cannot plan, with the reason."""

    def plan(self, stage: Stage) -> Plan:
        """The plan of one stage; raises why there is none, or what has to run before."""
        if stage in self.errors:
            raise self.errors[stage]
        plan = self.plans[stage]
        if any(not step.identity for step in plan.steps):
            missing = next(s for s in STAGES if not self._made(s))
            raise UsageError(
                f"{stage}: {missing} has not finished for this spec",
                f"run `docker compose run --rm {stage}`, which runs what comes before it, or `caisson {missing}`",
            )
        return plan

    def _made(self, stage: Stage) -> bool:
        if stage == "fetch":
            return self.inputs.model is not None and self.inputs.data is not None
        return stage in MAKES and getattr(self.inputs, MAKES[stage]) is not None

    def folder(self, role: str) -> str:
        """Folder of a sealed artifact, relative to the store."""
        sealed: Sealed | None = getattr(self.inputs, role)
        if sealed is None:
            stage = next((s for s, made in MAKES.items() if made == role), "fetch")
            raise UsageError(f"{stage} has not finished for this spec", f"run `docker compose run --rm {stage}`, or `caisson {stage}`")
        return sealed.folder

    def merged(self) -> Plan:
        """One plan of all stages, for reading."""
        plans = list(self.plans.values())
        waiting = tuple(error.what if error.what.startswith(f"{stage}: ") else f"{stage}: {error.what}" for stage, error in self.errors.items())
        return Plan(
            name=self.spec.name, steps=tuple(s for p in plans for s in p.steps), decisions=tuple(d for p in plans for d in p.decisions), waiting=waiting
        )


def read_spec(path: Path) -> Spec:
    """The spec of a file; raises SpecError for what is wrong in it and UsageError for a file that cannot be read."""
    return load(read_document(path, "spec file", "name a spec file; examples are in specs/"), path.name)


def machine(spec: Spec, store: Store) -> Facts:
    """Facts of this machine for one spec, with the model's config where it has been fetched or lies in a local folder."""
    sources = (spec.model.source, *row_sources(spec))
    facts = probe(store.root, sources, {spec.model.source: Path(spec.model.source)} if "://" not in spec.model.source else {})
    fetched = _find(plan_fetch(spec, facts).steps[0], store, facts)
    if fetched and (found := read_model(store.root / fetched.folder)):
        return facts.model_copy(update={"models": {**facts.models, spec.model.source: found}})
    return facts


def follow(spec: Spec, facts: Facts, store: Store, until: Stage = "serve") -> Chain:
    """Plan stage after stage, each over what the earlier ones have sealed."""
    inputs = Inputs()
    plans: dict[Stage, Plan] = {}
    errors: dict[Stage, CaissonError] = {}
    for stage in STAGES[: STAGES.index(until) + 1]:
        try:
            plan = _plan(stage, spec, facts, inputs)
        except SpecError:
            raise
        except CaissonError as error:
            errors[stage] = error
            if stage == "train":  # as in a container without a GPU, where export runs
                inputs = replace(inputs, trained=store.find_request(*trained_elsewhere(spec, inputs)))
            continue
        plans[stage] = plan
        if stage == "fetch":
            inputs = replace(inputs, model=_find(plan.steps[0], store, facts), data=_find(plan.steps[1], store, facts))
        elif stage in MAKES:
            inputs = replace(inputs, **{MAKES[stage]: _find(plan.steps[0], store, facts)})
    return Chain(spec, facts, inputs, plans, errors)


def _plan(stage: Stage, spec: Spec, facts: Facts, inputs: Inputs) -> Plan:
    if stage == "fetch":
        return plan_fetch(spec, facts)
    makers = {"prepare": plan_prepare, "train": plan_train, "export": plan_export, "serve": plan_serve}
    return makers[stage](spec, facts, inputs)


def _find(step: Step, store: Store, facts: Facts) -> Sealed | None:
    """Exactly this artifact. Else, where the machine decides the rest (train) or the source is out of sight from here
    (fetch), the newest that answers the same request."""
    sealed = store.find(step)
    if sealed is None and (step.stage == "train" or (step.job.stage == "fetch" and _out_of_sight(step.job.sources, facts))):
        return store.find_request(step.folder, step.request)
    return sealed


def _out_of_sight(sources: tuple[str, ...], facts: Facts) -> bool:
    return any(source in facts.sources and facts.sources[source].kind in ("missing", "unreadable") for source in sources)
