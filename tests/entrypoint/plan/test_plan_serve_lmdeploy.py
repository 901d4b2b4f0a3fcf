"""What LMDeploy is told, and what it lacks, by name."""

import pytest
from known import H100, LLAMA_8B, T4, facts, inputs, spec, why

from entrypoint.plan import plan_serve
from schemas.errors import UsageError
from schemas.facts import Facts
from schemas.plan import Plan
from schemas.serve_job import ServeJob

LLAMA = {**LLAMA_8B, "architectures": ["LlamaForCausalLM"], "model_type": "llama"}
ONE = facts(H100, config=LLAMA)


def plan_of(text: str = "", machine: Facts = ONE) -> Plan:
    return plan_serve(spec(f"serve: {{engine: lmdeploy, max_length: 512{', ' if text else ''}{text}}}"), machine, inputs())


def flags(plan: Plan) -> dict[str, str]:
    job = plan.steps[0].job
    assert isinstance(job, ServeJob)
    return {flag: (*job.arguments, "")[at + 1] for at, flag in enumerate(job.arguments) if flag.startswith("--")}


def test_the_least() -> None:
    plan = plan_of()
    job = plan.steps[0].job
    assert isinstance(job, ServeJob)
    assert job.arguments == (
        "--backend", "turbomind", "--chat-template", "hf",
        "--disable-fastapi-docs", "--log-level", "WARNING", "--max-log-len", "0", "--dtype", "bfloat16", "--session-len", "512",
        "--cache-max-entry-count", "0.85", "--tp", "1", "--enable-prefix-caching",
    )  # fmt: skip
    assert plan.steps[0].title == "n by LMDeploy"
    assert plan.steps[0].environment == {"DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0"}


@pytest.mark.parametrize(
    ("text", "config", "share"),
    [
        ("", LLAMA, "0.85"),
        ("memory_share: 0.5", LLAMA, "0.36"),
        ("memory_share: 0.98", LLAMA, "0.95"),
        ("memory_share: 0.3", LLAMA, "0.11"),
        ("", None, "0.90"),
    ],
)
def test_share_of_what_weights_leave(text: str, config: dict | None, share: str) -> None:
    """8B in bf16 are 14.96 GiB of 79.6: 0.9 of all, less a margin and the weights, over the 64.64 that are left."""
    plan = plan_of(text, facts(H100, config=config))
    assert flags(plan)["--cache-max-entry-count"] == share == why(plan, "share of free memory")[0]


def test_shares_are_the_same_bytes() -> None:
    whole, weights = 79.6, 14.96
    assert float(flags(plan_of("memory_share: 0.5"))["--cache-max-entry-count"]) * (whole - weights) + weights == pytest.approx(0.48 * whole, rel=0.01)


def test_no_bf16() -> None:
    small = {**LLAMA, "num_hidden_layers": 8}
    assert flags(plan_of(machine=facts(T4, config=small)))["--dtype"] == "float16"


def test_what_the_spec_says() -> None:
    found = flags(plan_of("max_running: 32, kv_cache: int4, prefix_caching: false, tool_parser: llama3, reasoning_parser: default, tensor_parallel: 1"))
    assert (found["--max-batch-size"], found["--quant-policy"]) == ("32", "int4")
    assert (found["--tool-call-parser"], found["--reasoning-parser"]) == ("llama3", "default")
    assert "--enable-prefix-caching" not in found


def test_eagle() -> None:
    found = flags(plan_of("speculative: {kind: eagle3, model: /models/head, tokens: 5}"))
    assert [found[name] for name in ("--speculative-algorithm", "--speculative-draft-model", "--speculative-num-draft-tokens")] == [
        "eagle3",
        "/models/head",
        "5",
    ]
    assert (found["--backend"], found["--logprobs-mode"]) == ("pytorch", "raw_logprobs")


def test_generation_goes_by_a_file() -> None:
    job = plan_of("generation: {temperature: 0.5, top_k: 7}").steps[0].job
    assert isinstance(job, ServeJob) and job.generation == {"temperature": 0.5, "top_k": 7}
    assert isinstance(job.generation["top_k"], int)


def test_no_seed_of_the_server() -> None:
    assert why(plan_of(), "serve.seed") == ("none", "LMDeploy 0.18.0 takes a seed with each request only")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 3", "serve.seed: LMDeploy 0.18.0 takes a seed with each request only\n    take it out, or write engine: vllm"),
        ("generation: {max_tokens: 5}", "serve.generation.max_tokens: LMDeploy 0.18.0 has no limit for all requests\n    take it out, or write engine: vllm"),
        (
            "structured_output: outlines",
            "serve.structured_output: LMDeploy 0.18.0 has xgrammar alone, not outlines\n    write xgrammar or auto, or engine: vllm",
        ),
        (
            "speculative: {kind: ngram}",
            "serve.speculative: LMDeploy 0.18.0's back end pytorch has eagle and eagle3, not ngram\n    write kind: eagle3 with a head for this model, or engine: vllm",
        ),
        ("speculative: {kind: draft, model: /models/d}", "has eagle and eagle3, not draft"),
    ],
)
def test_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan_of(text)
    assert said in str(caught.value)
