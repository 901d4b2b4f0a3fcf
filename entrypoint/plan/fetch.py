"""Plan of the stage fetch: the model and the rows into the store."""

from collections.abc import Sequence

from entrypoint.plan.inputs import Inputs
from entrypoint.plan.plugins import OF_PREPARE, OF_TRAIN, code_sources
from entrypoint.plan.step import make_step
from entrypoint.plan.suites import suite_sources
from entrypoint.plan.tables import ARCHITECTURES
from schemas.architecture import check_known
from schemas.benchmarks import BENCHMARK_DATA, FETCHED_FROM
from schemas.data import NAMED_TEMPLATES, Rows
from schemas.errors import MachineError, UsageError
from schemas.facts import Facts, ModelFacts, SourceFacts
from schemas.job import FetchJob
from schemas.method import teacher_of
from schemas.plan import Decision, Plan, Step
from schemas.plugins import is_file
from schemas.spec import Spec

TEACHER = "teacher"
"""Begins the title of its step; it is fetched as any model, so that two runs share it whatever it is to them."""


def plan_fetch(spec: Spec, facts: Facts) -> Plan:
    """A step for the model, one for all rows together, one for a teacher, one for the plug-ins of each stage that has some, and one for suites."""
    rows = row_sources(spec)
    model_job = FetchJob(role="model", sources=(spec.model.source,), trust_remote_code=spec.model.trust_remote_code)
    data_job = FetchJob(role="data", sources=rows, template=template_file(spec))
    wanted = [(model_job, f"model {spec.model.source}", "models"), (data_job, f"rows of {', '.join(rows)}", "data")]
    if teacher := teacher_of(spec.method):
        wanted.append((model_job.model_copy(update={"sources": (teacher,)}), f"{TEACHER} {teacher}", "models"))
    for role, kinds in (("preprocessor", OF_PREPARE), ("plugins", OF_TRAIN)):
        if sources := code_sources(spec, kinds):
            wanted.append((FetchJob(role=role, sources=sources), f"code of {', '.join(sources)}", "plugins"))
    if suites := suite_sources(spec):
        wanted.append((FetchJob(role="suites", sources=suites), f"questions of {', '.join(suites)}", "data"))
    steps = tuple(
        make_step(
            job, title, folder, facts, Inputs(), (), job.model_dump(mode="json"), extra=_state(places_of(job), facts), disk_bytes=_bytes(places_of(job), facts)
        )
        for job, title, folder in wanted
    )
    decisions = [
        Decision(field=place, value=source, why="no revision given: the newest at the time of the fetch, its commit recorded in the manifest")
        for place, source in [
            ("model.source", spec.model.source),
            *((f"data: {s}", s) for s in rows),
            *((f"evaluate.suites: {s}", s) for s in suites),
            *([("method.teacher", teacher)] if teacher else []),
        ]
        if "://" in source and "@" not in source
    ]
    return Plan(name=spec.name, steps=steps, decisions=tuple(decisions))


def fetched_roles(spec: Spec) -> tuple[str, ...]:
    """What the artifacts of fetch's steps are read as, in the order of the steps."""
    teacher = ("teacher",) if teacher_of(spec.method) else ()
    code = (("preprocessor", OF_PREPARE), ("plugins", OF_TRAIN))
    suites = ("suites",) if suite_sources(spec) else ()
    return ("model", "data", *teacher, *(role for role, kinds in code if code_sources(spec, kinds)), *suites)


def refuse_absent(steps: Sequence[Step], facts: Facts) -> None:
    """Raise UsageError or MachineError where a local source of these steps cannot be read: before the first of them has written anything."""
    for step in steps:
        assert isinstance(step.job, FetchJob)
        role = {"data": "data", "suites": "evaluate.suites", "model": "method.teacher" if step.title.startswith(TEACHER) else "model.source"}.get(
            step.job.role, "plugins"
        )
        for source in places_of(step.job):
            where = "data.template" if source == step.job.template else role
            found = facts.sources.get(source)
            if found and found.kind == "missing" and role == "plugins" and not is_file(source):
                raise MachineError(f"plugins: the module {source} is not installed here", "install its package in the image of train, or name a file")
            if found and found.kind == "missing" and role == "evaluate.suites" and (benchmark := _benchmark_at(source)):
                raise MachineError(
                    f"evaluate.suites: the questions of {benchmark} are not at {source}",
                    f"where a network is, write {{kind: benchmark, name: {benchmark}, source: {FETCHED_FROM[benchmark]}}} and run "
                    "`docker compose run --rm fetch`; or copy that data set's files into the folder, ./data of the host being /data",
                )
            if found and found.kind == "missing":
                raise UsageError(
                    f"{where}: {source} is not there",
                    "in a container /models and /data are the folders ./models and ./data of the host, or those that MODELS and DATA name",
                )
            if found and found.kind == "unreadable":
                raise MachineError(
                    f"{where}: {source}: {found.fault}", "name a folder with what is wanted and nothing else, readable for uid 10001 (chmod -R a+rX)"
                )


def _benchmark_at(source: str) -> str:
    """The benchmark whose usual place this is; empty for any other source."""
    folder, _, name = source.rpartition("/")
    return name if folder == BENCHMARK_DATA and name in FETCHED_FROM else ""


def refuse_unknown(step: Step, facts: Facts) -> None:
    """Raise UsageError where a local model that this step fetches is of an architecture that the images' transformers does not have."""
    assert isinstance(step.job, FetchJob)
    known = facts.models.get(step.job.sources[0]) if step.job.role == "model" else None
    if known:
        refuse_config(known, f"{'method.teacher' if step.title.startswith(TEACHER) else 'model.source'}: {step.job.sources[0]}")


def refuse_config(known: ModelFacts, shown: str) -> None:
    """The same of a config.json; one that names no model_type is fetch's to judge."""
    if known.config.get("model_type"):
        check_known(known.config, shown, ARCHITECTURES["types"], ARCHITECTURES["transformers"])


def row_sources(spec: Spec) -> tuple[str, ...]:
    """Sources of rows in the order of the spec, training first, each once."""
    validation = spec.data.validation if isinstance(spec.data.validation, tuple) else ()
    every: tuple[Rows, ...] = (*spec.data.train, *validation)
    return tuple(dict.fromkeys(rows.source for rows in every))


def template_file(spec: Spec) -> str | None:
    """The chat template that the spec names as a file."""
    named = spec.data.template
    return named if named is not None and named not in NAMED_TEMPLATES else None


def places_of(job: FetchJob) -> tuple[str, ...]:
    """Everything that a fetch reads."""
    return (*job.sources, job.template) if job.template else job.sources


def _state(sources: tuple[str, ...], facts: Facts) -> dict[str, object]:
    """Path, size and time of change of local files: cheap to read on every run; contents are hashed when fetched."""
    return {source: found.model_dump(mode="json")["files"] for source in sources if (found := facts.sources.get(source, SourceFacts(kind="missing"))).files}


def _bytes(sources: tuple[str, ...], facts: Facts) -> int:
    return sum(size for s in sources if s in facts.sources for _, size, _ in facts.sources[s].files)
