"""What vLLM is told where the spec says more than the least."""

import json

import pytest
from known import H100, LLAMA_8B, facts, inputs, spec

from entrypoint.plan import plan_serve
from schemas.errors import MachineError
from schemas.facts import Facts, SourceFacts
from schemas.serve_job import ServeJob


def job_of(text: str, machine: Facts | None = None) -> ServeJob:
    job = plan_serve(spec(f"serve: {{max_length: 512, {text}}}"), machine or facts(H100, config=LLAMA_8B), inputs()).steps[0].job
    assert isinstance(job, ServeJob)
    return job


def value(job: ServeJob, flag: str) -> str:
    return job.arguments[job.arguments.index(flag) + 1]


def test_running() -> None:
    assert value(job_of("max_running: 32"), "--max-num-seqs") == "32"


@pytest.mark.parametrize(("text", "on"), [("", True), ("prefix_caching: true", True), ("prefix_caching: false", False)])
def test_prefix_caching(text: str, on: bool) -> None:
    arguments = job_of(text).arguments
    assert ("--enable-prefix-caching" in arguments, "--no-enable-prefix-caching" in arguments) == (on, not on)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kind: ngram", {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 4, "prompt_lookup_min": 2}),
        ("kind: draft, model: /models/d, tokens: 5", {"method": "draft_model", "model": "/models/d", "num_speculative_tokens": 5}),
        ("kind: eagle3, model: /models/d", {"method": "eagle3", "model": "/models/d", "num_speculative_tokens": 3}),
    ],
)
def test_speculative(text: str, told: dict[str, object]) -> None:
    assert json.loads(value(job_of(f"speculative: {{{text}}}"), "--speculative-config")) == told


def test_a_draft_that_is_not_there() -> None:
    missing = facts(H100, config=LLAMA_8B, sources={"/models/d": SourceFacts(kind="missing")})
    with pytest.raises(MachineError, match=r"serve\.speculative\.model: /models/d is no folder that can be read here"):
        job_of("speculative: {kind: draft, model: /models/d}", missing)


def test_generation() -> None:
    job = job_of("generation: {temperature: 0, top_k: 20, max_tokens: 64}")
    assert json.loads(value(job, "--override-generation-config")) == {"temperature": 0, "top_k": 20, "max_new_tokens": 64}
    assert value(job, "--generation-config") == "auto"
    assert job.generation == {}, "vLLM is told by its command line"


@pytest.mark.parametrize("name", ["xgrammar", "guidance", "outlines", "lm-format-enforcer"])
def test_structured_output(name: str) -> None:
    assert json.loads(value(job_of(f"structured_output: {name}"), "--structured-outputs-config")) == {"backend": name}


def test_on_a_cpu_nothing_is_said_of_gpus() -> None:
    arguments = job_of("", facts()).arguments
    assert "--enforce-eager" in arguments
    assert not {"--gpu-memory-utilization", "--tensor-parallel-size", "--pipeline-parallel-size"} & set(arguments)
