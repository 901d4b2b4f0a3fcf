"""Plan of the stage evaluate: what is asked of base and tuned model, and the engines that answer."""

from entrypoint.plan.export import check_served
from entrypoint.plan.inputs import Inputs
from entrypoint.plan.serve import plan_serve
from entrypoint.plan.step import TASK, make_step
from entrypoint.plan.suites import suite_jobs
from schemas.errors import UsageError
from schemas.evaluate_job import EvaluateJob
from schemas.facts import Facts
from schemas.method import Pretrain
from schemas.plan import Decision, Plan, Step
from schemas.serve_job import ServeJob
from schemas.spec import Spec

ROWS = 500
"""Validation rows that are asked at most, drawn by the seed: a share of them is known to within four points."""

REQUESTS = 8
"""At once: an engine computes them together, and a base model that never stops holds up seven others at most."""

MOST_UNANSWERED = 0.05
"""Share of a suite's questions: with more missing, those that are left are a choice that nobody made."""

ROLES = ("model", "prepared", "trained", "exported")


def plan_evaluate(spec: Spec, facts: Facts, inputs: Inputs) -> Plan:
    """One step, over the spec's own export, whatever is served. Raises UsageError where there is nothing to ask, and what refuses to serve."""
    if not spec.data.validation:
        raise UsageError("evaluate: there is nothing to ask: data.validation keeps no rows", "write a share such as data.validation: 5%")
    suites = suite_jobs(spec, REQUESTS)
    if suites and inputs.suites is None and inputs.exported is not None:
        raise UsageError(f"evaluate.suites: the rows of {', '.join(suite.name for suite in suites)} have not been fetched", "run fetch first")
    served = _served(spec, facts, inputs)
    assert isinstance(served.job, ServeJob)
    job = EvaluateJob(
        rows=spec.method.rows, raw=isinstance(spec.method, Pretrain), limit=ROWS, seed=spec.train.seed, requests=REQUESTS, most_unanswered=MOST_UNANSWERED,
        engine=served.job.engine, engine_lock=served.image_lock, arguments=served.job.arguments, suites=suites, gate=spec.evaluate.gate,
    )  # fmt: skip
    wanted = {"evaluate": spec.evaluate.model_dump(mode="json", exclude={"gate"}), "serve": spec.serve.model_dump(mode="json")}
    step = make_step(job, "base against tuned", f"{spec.name}/evals", facts, inputs, (*ROLES, *(("suites",) if suites else ())), wanted)
    decisions = (
        Decision(field="evaluate.suites", value=f"own: at most {ROWS} validation rows", why="always asked; drawn by the seed, the same of both models"),
        *(
            Decision(
                field=f"evaluate.suites: {suite.name}",
                value=f"{suite.kind} from {suite.source}{f', {suite.limit:,} rows' if suite.limit else ''}",
                why="as the spec says",
            )
            for suite in suites
        ),
        Decision(field="evaluate order", value="base, then tuned", why="one engine after the other, as serve starts it: memory for two is not assumed"),
        Decision(
            field="questions unanswered", value=f"at most {MOST_UNANSWERED:.0%} of a suite", why="after four tries each; with more missing the stage fails"
        ),
    )
    return Plan(name=spec.name, steps=(step,), decisions=decisions)


def plan_sides(spec: Spec, facts: Facts, inputs: Inputs) -> Plan:
    """The engines of base and tuned model, one after the other, as serve would start that of the export."""
    step = _served(spec, facts, inputs)
    assert isinstance(step.job, ServeJob)
    folders, contents = inputs.of("exported", "model")
    update = {
        "stage": "sides", "title": f"{spec.name} and its base, by turns", "argv": ("python", "-m", "entrypoint.run.sides", TASK), "folder": f"{spec.name}/sides",
        "job": step.job.model_copy(update={"host_name": "sides"}), "inputs": folders, "input_contents": contents,
    }  # fmt: skip
    return Plan(name=spec.name, steps=(step.model_copy(update=update),))


def _served(spec: Spec, facts: Facts, inputs: Inputs) -> Step:
    """How serve starts an engine over the export alone."""
    check_served(inputs)
    alone = spec.model_copy(update={"serve": spec.serve.model_copy(update={"adapters": ()})})
    return plan_serve(alone, facts, inputs).steps[0]
