"""How keys and values are kept: by engine, back end and machine, or the words of a refusal."""

import pytest
from known import H100, LLAMA_8B, T4, TINY, card, facts, inputs, spec, why

from entrypoint.plan import plan_serve
from schemas.errors import MachineError, UsageError
from schemas.facts import Accelerator, Facts
from schemas.plan import Plan
from schemas.serve_job import ServeJob

LLAMA = {**LLAMA_8B, "architectures": ["LlamaForCausalLM"]}
WIDE = {**TINY, "head_dim": 32}
CPU = facts(ram_gib=64.0, config=WIDE, avx512=True)
A100, L4, RTX_3090 = card(80), card(22, "8.9"), card(24, "8.6")


def plan_of(text: str, machine: Facts) -> Plan:
    return plan_serve(spec(f"serve: {{max_length: 512, {text}}}"), machine, inputs())


def flag(plan: Plan, name: str) -> str | None:
    job = plan.steps[0].job
    assert isinstance(job, ServeJob)
    return job.arguments[job.arguments.index(name) + 1] if name in job.arguments else None


@pytest.mark.parametrize(("kept", "said"), [("bf16", "auto"), ("fp8", "fp8"), ("int8", "int8_per_token_head"), ("int4", "int4_per_token_head"), ("auto", None)])
def test_vllm(kept: str, said: str | None) -> None:
    plan = plan_of(f"kv_cache: {kept}", facts(H100))
    assert flag(plan, "--kv-cache-dtype") == said
    if said:
        assert why(plan, "serve.kv_cache") == (kept, "set in the spec")


@pytest.mark.parametrize(
    ("backend", "kept", "said"),
    [("turbomind", "int8", "int8"), ("turbomind", "int4", "int4"), ("turbomind", "bf16", "none"), ("pytorch", "fp8", "fp8"), ("auto", "fp8", "fp8")],
)
def test_lmdeploy(backend: str, kept: str, said: str) -> None:
    assert flag(plan_of(f"engine: lmdeploy, backend: {backend}, kv_cache: {kept}", facts(H100, config=LLAMA)), "--quant-policy") == said


@pytest.mark.parametrize(("machine", "kept"), [(CPU, "fp8"), (CPU, "bf16"), (facts(A100), "fp8"), (facts(T4), "int8"), (facts(L4), "fp8")], ids=str)
def test_machines_that_can(machine: Facts, kept: str) -> None:
    assert why(plan_of(f"kv_cache: {kept}", machine), "serve.kv_cache")[0] == kept


def test_a_smaller_cache_holds_more_on_a_cpu() -> None:
    whole, half = (why(plan_of(text, CPU), "key-value cache")[1] for text in ("kv_cache: auto", "kv_cache: fp8"))
    assert whole.endswith("holds 12,582,912 tokens") and half.endswith("holds 25,165,824 tokens")


@pytest.mark.parametrize(
    ("text", "machine", "said"),
    [
        ("kv_cache: int8", CPU, "serve.kv_cache: vLLM 0.32.0 has no int8 cache on a CPU\n    write one of bf16, fp8, or auto"),
        (
            "kv_cache: fp8", facts(config=WIDE, avx512=False),
            "serve.kv_cache: fp8 on a CPU needs AVX-512 or AMX, and this one has neither\n    write kv_cache: auto",
        ),
        (
            "kv_cache: fp8", facts(T4),
            "serve.kv_cache: fp8 needs compute capability 8.0 with vLLM 0.32.0; Tesla T4 has 7.5\n    write kv_cache: int8 or auto",
        ),
        ("kv_cache: bf16", facts(T4), "serve.kv_cache: Tesla T4 has no bf16\n    write kv_cache: int8 or auto"),
        (
            "engine: lmdeploy, kv_cache: fp8", facts(RTX_3090, config={**LLAMA, "num_hidden_layers": 8}),
            "serve.kv_cache: fp8 needs compute capability 8.9 with LMDeploy 0.18.0; card 24 has 8.6\n    write kv_cache: int8 or auto",
        ),
    ],
)  # fmt: skip
def test_machines_that_cannot(text: str, machine: Facts, said: str) -> None:
    with pytest.raises(MachineError) as caught:
        plan_of(text, machine)
    assert str(caught.value) == said


@pytest.mark.parametrize("card_", [card(80, "9.0")], ids=["hopper"])
def test_turbomind_has_no_fp8(card_: Accelerator) -> None:
    with pytest.raises(UsageError, match=r"serve\.backend: turbomind has no fp8 cache"):
        plan_of("engine: lmdeploy, backend: turbomind, kv_cache: fp8", facts(card_, config=LLAMA))


def test_heads_that_a_cpu_has_no_kernel_for() -> None:
    with pytest.raises(UsageError, match=r"serve\.kv_cache: fp8 on a CPU needs heads of a multiple of 32, and the model's have 16"):
        plan_of("kv_cache: fp8", facts(avx512=True))
