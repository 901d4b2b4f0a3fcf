"""What is asked of base and tuned model, and by what an evaluation is another one."""

from dataclasses import replace

import pytest
from known import H100, LLAMA_8B, facts, inputs, spec

from entrypoint.plan import plan_evaluate, plan_serve, plan_sides
from schemas.errors import UsageError
from schemas.evaluate_job import EvaluateJob
from schemas.plan import Step
from schemas.serve_job import ServeJob

MACHINE = facts(H100, config=LLAMA_8B)


def step_of(text: str = "") -> Step:
    (step,) = plan_evaluate(spec(text), MACHINE, inputs()).steps
    return step


def test_the_engine_is_told_what_serve_tells_it() -> None:
    served = plan_serve(spec("serve: {max_length: 512}"), MACHINE, inputs()).steps[0].job
    job = step_of("serve: {max_length: 512}").job
    assert isinstance(job, EvaluateJob) and isinstance(served, ServeJob)
    assert (job.arguments, job.engine) == (served.arguments, "vllm")
    (sides,) = plan_sides(spec("serve: {max_length: 512}"), MACHINE, inputs()).steps
    assert isinstance(sides.job, ServeJob)
    assert (sides.job.arguments, sides.job.host_name, set(sides.inputs)) == (served.arguments, "sides", {"model", "exported"})
    assert sides.argv[-2:] == ("entrypoint.run.sides", "{task}")


def test_adapters_are_left_out() -> None:
    """The candidate is the export; what is served beside it answers no question."""
    assert step_of("serve: {adapters: [{name: a, path: /models/a}]}").job == step_of().job


def test_a_gate_that_moves_needs_no_new_evaluation_and_another_length_does() -> None:
    plain = step_of()
    gated = step_of('evaluate: {gate: {own.exact_match: ">= 0.9"}}')
    assert gated.identity == plain.identity and gated.request == plain.request
    assert isinstance(gated.job, EvaluateJob) and gated.job.gate == {"own.exact_match": ">= 0.9"}
    assert step_of("serve: {max_length: 512}").identity != plain.identity


def test_nothing_to_ask() -> None:
    with pytest.raises(UsageError, match="there is nothing to ask"):
        plan_evaluate(spec("data: {train: [{source: /data/a.jsonl}], validation: 0%}"), MACHINE, inputs())


SUITES = "evaluate: {suites: [{kind: questions, name: faq, source: /data/faq.jsonl}]}"


def test_suites_of_the_user_s_own_rows() -> None:
    found = replace(inputs(), suites=inputs().prepared)
    (step,) = plan_evaluate(spec(SUITES), MACHINE, found).steps
    assert isinstance(step.job, EvaluateJob)
    assert [suite.name for suite in step.job.suites] == ["faq"] and "suites" in step.inputs
    assert step.identity != step_of().identity
    with pytest.raises(UsageError, match=r"evaluate.suites: the rows of faq have not been fetched"):
        plan_evaluate(spec(SUITES), MACHINE, inputs())
