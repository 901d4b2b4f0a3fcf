"""Two engines at once only where both fit."""

import pytest
from known import H100, LLAMA_8B, facts, inputs, spec, why

from entrypoint.plan import plan_serve
from schemas.facts import Facts
from schemas.serve_job import ServeJob


def handover(machine: Facts, text: str = "") -> str:
    plan = plan_serve(spec(text), machine, inputs())
    job = plan.steps[0].job
    assert isinstance(job, ServeJob) and job.handover == why(plan, "serve.handover")[0]
    return job.handover


@pytest.mark.parametrize(
    ("machine", "text", "value"),
    [
        (facts(ram_gib=64.0), "", "overlap"),
        (facts(ram_gib=6.0), "", "restart"),
        (facts(config=LLAMA_8B, ram_gib=32.0), "serve: {max_length: 2048}", "restart"),
        (facts(config=LLAMA_8B, ram_gib=96.0), "serve: {max_length: 2048}", "overlap"),
        (facts(config=None), "", "restart"),
        (facts(H100), "", "restart"),
        (facts(H100), "serve: {memory_share: 0.45}", "overlap"),
        (facts(H100), "serve: {handover: overlap}", "overlap"),
        (facts(ram_gib=64.0), "serve: {handover: restart}", "restart"),
    ],
    ids=["small", "little memory", "8b", "8b with room", "unknown", "gpu", "half a gpu", "said so", "said not"],
)
def test_handover(machine: Facts, text: str, value: str) -> None:
    assert handover(machine, text) == value
