"""Plan of the second step of prepare: what a teacher behind an endpoint says of each prepared row."""

from entrypoint.plan.inputs import Inputs
from entrypoint.plan.step import make_step
from schemas.answers_job import KEY_FILE, AnswersJob, Reach
from schemas.errors import MachineError
from schemas.facts import Facts
from schemas.method import Distil
from schemas.plan import Decision, Step
from schemas.spec import Spec

TOP_K = 20
"""vLLM refuses more unless it was started with --max-logprobs (ModelConfig.max_logprobs)."""

REQUESTS = 16
"""At once: enough that a server batches them, few enough that none waits for minutes."""

ENTRY_BYTES = 8
"""A token's id and its log-probability."""

OVERLAY = "docker compose -f compose.yaml -f compose/teacher.yaml run --rm prepare"


def asked_of(spec: Spec) -> Distil | None:
    """The method where its teacher is asked over the network."""
    return spec.method if isinstance(spec.method, Distil) and spec.method.endpoint else None


def plan_answers(spec: Spec, facts: Facts, inputs: Inputs, decisions: list[Decision]) -> tuple[Step, ...]:
    """The step, where the spec names an endpoint. The address and the key are in no identity: the model's name, top_k and the rows are."""
    method = asked_of(spec)
    if method is None:
        return ()
    assert method.endpoint and method.teacher_name
    reach = Reach(url=method.endpoint.rstrip("/"), key_file=method.key_file or KEY_FILE, requests=method.requests or REQUESTS)
    job = AnswersJob(teacher=method.teacher_name, top_k=method.top_k or TOP_K, reach=reach)
    decisions += [
        Decision(field="teacher", value=f"{job.teacher} at {reach.url}", why=f"asked once, before training; it takes a way out: {OVERLAY}"),
        Decision(
            field="method.top_k",
            value=str(job.top_k),
            why="set in the spec" if method.top_k else "the most that vLLM gives unless it was started with --max-logprobs",
            source="" if method.top_k else "vLLM, ModelConfig.max_logprobs",
        ),
    ]
    wanted = {"teacher": job.teacher, "top_k": job.top_k}
    summary = inputs.prepared.manifest.summary if inputs.prepared else {}
    places = sum(summary.get(split, {}).get("supervised", 0) for split in ("train", "validation"))
    title = f"what {job.teacher} says of the rows"
    step = make_step(
        job, title, f"{spec.name}/answers", facts, inputs, ("model", "prepared"), wanted, disk_bytes=places * job.top_k * ENTRY_BYTES
    )  # fmt: skip
    return (step,)


def check_way_out(spec: Spec, facts: Facts, inputs: Inputs) -> None:
    """Raise MachineError where the teacher is still to be asked and nothing can be reached."""
    method = asked_of(spec)
    if method and inputs.answers is None and not facts.network:
        raise MachineError(f"method.endpoint: {method.endpoint} is asked by prepare, which has no network here", f"run `{OVERLAY}`")
