"""Which engine, and which of LMDeploy's back ends, or the words of a refusal."""

import pytest
from known import H100, LLAMA_8B, facts, inputs, spec, why

from entrypoint.plan import plan_serve
from entrypoint.plan.engine_choice import Choice, check_format
from entrypoint.plan.tables import ENGINES
from schemas.errors import CaissonError, MachineError, UsageError
from schemas.facts import Facts
from schemas.plan import Plan
from schemas.serve_job import ServeJob

LLAMA = {**LLAMA_8B, "architectures": ["LlamaForCausalLM"], "model_type": "llama"}
GEMMA = {**LLAMA_8B, "architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2"}
OLMO = {**LLAMA_8B, "architectures": ["Olmo3ForCausalLM"], "model_type": "olmo3"}
INTERN = {**LLAMA_8B, "architectures": ["InternVLChatModel"], "model_type": "internvl_chat"}


def plan_of(text: str, machine: Facts | None = None) -> Plan:
    return plan_serve(spec(f"serve: {{max_length: 2048, {text}}}"), machine or facts(H100, config=LLAMA), inputs())


def refusal(text: str, machine: Facts | None = None, kind: type[CaissonError] = UsageError) -> str:
    with pytest.raises(kind) as caught:
        plan_of(text, machine)
    return str(caught.value)


@pytest.mark.parametrize(("text", "engine"), [("", "vllm"), ("engine: vllm", "vllm"), ("engine: lmdeploy", "lmdeploy")])
def test_engine(text: str, engine: str) -> None:
    plan = plan_of(text)
    step = plan.steps[0]
    assert isinstance(step.job, ServeJob) and step.job.engine == engine
    assert step.argv[-2:] == ("entrypoint.run.serve", "{task}")
    assert why(plan, "serve.engine")[0] == engine


def test_auto_is_vllm_with_a_reason() -> None:
    value, reason = why(plan_of(""), "serve.engine")
    assert value == "vllm" and "CPU and GPU" in reason


def test_each_engine_has_the_lock_of_its_image() -> None:
    assert plan_of("engine: vllm").steps[0].image_lock != plan_of("engine: lmdeploy").steps[0].image_lock


def test_no_lmdeploy_on_a_cpu() -> None:
    assert refusal("engine: lmdeploy", facts(config=LLAMA), MachineError) == (
        "serve.engine: LMDeploy computes on GPUs only, and this is a CPU\n    write engine: vllm or auto; on a machine with a GPU set ACCELERATOR=cuda"
    )


@pytest.mark.parametrize("engine", ["", "engine: vllm, "])
def test_backends_are_of_lmdeploy(engine: str) -> None:
    assert refusal(f"{engine}backend: turbomind") == (
        "serve.backend: turbomind is a back end of LMDeploy, and the engine is vllm\n    write engine: lmdeploy, or take backend out"
    )


@pytest.mark.parametrize(
    ("text", "config", "backend", "reason"),
    [
        ("", LLAMA, "turbomind", "has LlamaForCausalLM"),
        ("", None, "turbomind", "assumed until the model's config is fetched"),
        ("", GEMMA, "pytorch", "turbomind does not have Gemma2ForCausalLM"),
        (", backend: pytorch", LLAMA, "pytorch", "set in the spec"),
        (", backend: turbomind", LLAMA, "turbomind", "set in the spec"),
        (", kv_cache: fp8", LLAMA, "pytorch", "turbomind has no fp8 cache"),
        (", kv_cache: int8", LLAMA, "turbomind", "has LlamaForCausalLM"),
        (", adapters: [{name: a, run: b}]", LLAMA, "pytorch", "turbomind has no adapters"),
        (", speculative: {kind: eagle3, model: /models/head}", LLAMA, "pytorch", "turbomind has no speculative decoding"),
    ],
)
def test_backend(text: str, config: dict, backend: str, reason: str) -> None:
    assert why(plan_of(f"engine: lmdeploy{text}", facts(H100, config=config)), "serve.backend") == (backend, reason)


@pytest.mark.parametrize(
    ("text", "config", "said"),
    [
        ("", OLMO, "serve.engine: LMDeploy 0.18.0 does not have Olmo3ForCausalLM\n    write engine: vllm or auto"),
        (
            ", backend: turbomind", GEMMA,
            "serve.backend: turbomind of LMDeploy 0.18.0 does not have Gemma2ForCausalLM\n    write backend: pytorch or auto, or engine: vllm",
        ),
        (", backend: turbomind, kv_cache: fp8", LLAMA, "serve.backend: turbomind has no fp8 cache\n    write backend: pytorch or auto, or engine: vllm"),
        (
            ", backend: turbomind, adapters: [{name: a, run: b}]", LLAMA,
            "serve.backend: turbomind has no adapters\n    write backend: pytorch or auto, or engine: vllm",
        ),
    ],
)  # fmt: skip
def test_refused(text: str, config: dict, said: str) -> None:
    assert refusal(f"engine: lmdeploy{text}", facts(H100, config=config)) == said


def test_every_model_of_turbomind_but_these_is_of_pytorch_too() -> None:
    """Where that is not so, a wish that only PyTorch fulfils is refused for the model."""
    alone = set(ENGINES["lmdeploy"]["turbomind"]) - set(ENGINES["lmdeploy"]["pytorch"])
    assert alone == set()


@pytest.mark.parametrize(
    ("choice", "loads"),
    [
        (Choice("vllm"), "safetensors adapter fp8 int8 awq gptq"),
        (Choice("lmdeploy", "turbomind"), "safetensors adapter awq gptq"),
        (Choice("lmdeploy", "pytorch"), "safetensors adapter"),
    ],
)
def test_formats_of_exports(choice: Choice, loads: str) -> None:
    for kind in ["safetensors", "adapter", "fp8", "int8", "awq", "gptq"]:
        if kind in loads.split():
            check_format(kind, choice)
        else:
            with pytest.raises(UsageError, match=f"does not load an export of kind {kind}"):
                check_format(kind, choice)
