"""The engine's flags by machine; a key is in none of them."""

from typing import Any

import pytest
from known import H100, LLAMA_8B, T4, card, facts, inputs, spec, why

from entrypoint.plan import plan_serve
from schemas.errors import MachineError, UsageError
from schemas.facts import Accelerator, Facts
from schemas.plan import Plan
from schemas.serve_job import ServeJob


def plan_of(machine: Facts, text: str = "") -> Plan:
    return plan_serve(spec(text), machine, inputs())


def flags(plan: Plan) -> dict[str, str]:
    """Flag -> value, '' for a switch."""
    job = plan.steps[0].job
    assert isinstance(job, ServeJob)
    found: dict[str, str] = {}
    last = ""
    for part in job.arguments:
        if part.startswith("--"):
            last, found[part] = part, ""
        else:
            assert not found[last], f"{part} stands alone"
            found[last] = part
    return found


COMMON = {
    "--dtype": "bfloat16", "--max-model-len": "512", "--shutdown-timeout": "60",
    "--disable-fastapi-docs": "", "--generation-config": "auto", "--seed": "17", "--enable-prefix-caching": "",
}  # fmt: skip


def test_cpu() -> None:
    plan = plan_of(facts())
    assert flags(plan) == {**COMMON, "--enforce-eager": ""}
    step = plan.steps[0]
    assert step.argv == ("python", "-m", "entrypoint.run.serve", "{task}")
    assert step.inputs == {"exported": "n/exported/x"}
    assert step.environment == {
        "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "6", "OMP_NUM_THREADS": "8",
    }  # fmt: skip


def test_gpu() -> None:
    plan = plan_of(facts(H100))
    assert flags(plan) == {**COMMON, "--gpu-memory-utilization": "0.9", "--tensor-parallel-size": "1"}
    assert "VLLM_CPU_KVCACHE_SPACE" not in plan.steps[0].environment


@pytest.mark.parametrize("machine", [facts(), facts(H100)], ids=["cpu", "gpu"])
def test_no_key_anywhere(machine: Facts) -> None:
    plan = plan_of(machine)
    text = " ".join((*plan.steps[0].argv, *flags(plan), *plan.steps[0].environment)).lower()
    assert "key" not in text.replace("tokenizer", "")
    assert isinstance(plan.steps[0].job, ServeJob)
    assert plan.steps[0].job.key_file == "/run/secrets/api_key"


@pytest.mark.parametrize(("ram", "cache"), [(4.0, "1"), (10.0, "1"), (29.0, "2"), (64.0, "6"), (400.0, "40"), (2000.0, "40")])
def test_cache_on_a_cpu(ram: float, cache: str) -> None:
    assert plan_of(facts(ram_gib=ram)).steps[0].environment["VLLM_CPU_KVCACHE_SPACE"] == cache


def test_cache_too_small_for_one_conversation() -> None:
    with pytest.raises(MachineError) as caught:
        plan_of(facts(config=LLAMA_8B, ram_gib=8.0))
    assert str(caught.value) == (
        "serve.max_length: 131072 tokens need more than the 1 GiB of cache that this machine allows\n    write serve.max_length: 8192 or less"
    )
    assert flags(plan_of(facts(config=LLAMA_8B, ram_gib=8.0), "serve: {max_length: 8192}"))["--max-model-len"] == "8192"


@pytest.mark.parametrize(
    ("text", "config", "length", "reason"),
    [
        ("", LLAMA_8B | {"max_position_embeddings": 4000}, "4000", "the model's positions"),
        ("", None, "4096", "assumed until the model's config is fetched"),
        ("serve: {max_length: 100}", LLAMA_8B, "100", "set in the spec"),
    ],
)
def test_length(text: str, config: dict[str, Any] | None, length: str, reason: str) -> None:
    plan = plan_of(facts(H100, config=config), text)
    assert flags(plan)["--max-model-len"] == length
    assert why(plan, "serve.max_length") == (length, reason)


def test_longer_than_the_positions() -> None:
    with pytest.raises(UsageError, match=r"serve\.max_length: 513 tokens, but the model has 512 positions"):
        plan_of(facts(H100), "serve: {max_length: 513}")


@pytest.mark.parametrize(
    ("cards", "parallel"),
    [((80.0,), "1"), ((24.0,), "1"), ((16.0, 16.0), "2"), ((80.0,) * 8, "1"), ((16.0,) * 3, "2"), ((10.0,) * 8, "4"), ((6.0,) * 8, "4")],
    ids=str,
)
def test_tensor_parallel(cards: tuple[float, ...], parallel: str) -> None:
    """8B: 15 GiB in bf16; a card's room is nine tenths of it."""
    plan = plan_of(facts(*map(card, cards), config=LLAMA_8B), "serve: {max_length: 2048}")
    assert flags(plan)["--tensor-parallel-size"] == parallel
    assert why(plan, "serve.tensor_parallel")[0] == parallel


def test_heads_divide_evenly() -> None:
    """8 heads of keys over 3 GPUs, or 6 over 4, would not start."""
    config = {**LLAMA_8B, "num_key_value_heads": 6, "num_attention_heads": 48, "head_dim": 128}
    assert flags(plan_of(facts(*(card(12),) * 8, config=config), "serve: {max_length: 2048}"))["--tensor-parallel-size"] == "2"


def test_weights_that_leave_no_room() -> None:
    with pytest.raises(MachineError) as caught:
        plan_of(facts(T4, config=LLAMA_8B))
    assert str(caught.value) == "serve: 15.0 GiB of weights over 1 GPU(s) of 15 GiB leave no room for a cache\n    serve on more or larger GPUs"


@pytest.mark.parametrize(("text", "share"), [("", "0.9"), ("serve: {memory_share: 0.5}", "0.5"), ("serve: {memory_share: 0.35}", "0.35")])
def test_memory_share(text: str, share: str) -> None:
    assert flags(plan_of(facts(H100), text))["--gpu-memory-utilization"] == share


@pytest.mark.parametrize(
    ("machine", "dtype"), [(facts(), "bfloat16"), (facts(H100), "bfloat16"), (facts(T4), "float16"), (facts(card(16, "7.5")), "float16")], ids=str
)
def test_dtype(machine: Facts, dtype: str) -> None:
    """vLLM ends at once where a card has no bf16."""
    plan = plan_of(machine)
    assert flags(plan)["--dtype"] == why(plan, "serve precision")[0] == dtype


def test_seed_is_the_run_s() -> None:
    assert flags(plan_of(facts(), "train: {seed: 3}"))["--seed"] == "3"
    assert flags(plan_of(facts(), "train: {seed: 3}\nserve: {seed: 4}"))["--seed"] == "4"


def test_cuda_image_without_a_gpu() -> None:
    with pytest.raises(MachineError, match="sees no GPU"):
        plan_of(facts(device="cuda"))


@pytest.mark.parametrize("cards", [(card(80), card(16, "7.5")), (card(16, "7.5"), card(80))], ids=["large first", "small first"])
def test_unlike_gpus_serve_as_the_weakest_can(cards: tuple[Accelerator, ...]) -> None:
    plan = plan_of(facts(*cards, config=LLAMA_8B), "serve: {max_length: 2048}")
    assert (flags(plan)["--dtype"], flags(plan)["--tensor-parallel-size"]) == ("float16", "2")
    assert "GPUs" in {decision.field for decision in plan.decisions}
