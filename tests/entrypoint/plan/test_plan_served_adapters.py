"""Adapters beside each other: ranks, places, and what an engine would refuse or compute otherwise."""

from typing import Any

import pytest
from known import H100, LLAMA_8B, facts, inputs, sealed, spec, why

from entrypoint.plan import plan_serve
from schemas.errors import CaissonError, MachineError, UsageError
from schemas.facts import AdapterFacts, Facts
from schemas.plan import Plan
from schemas.serve_job import AdapterPlace, ServeJob

TEXT = "serve: {max_length: 512, ENGINEadapters: [{name: b, run: other}, {name: c, path: /models/c}]}"
LLAMA = {**LLAMA_8B, "architectures": ["LlamaForCausalLM"]}


def adapter(rank: int = 16, base: str = "", **config: Any) -> AdapterFacts:
    values = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "target_modules": ["q_proj"], "bias": "none", "init_lora_weights": True}
    return AdapterFacts(config={**values, **config}, folder="/store/x", base=base)


def machine(**adapters: AdapterFacts | None) -> Facts:
    return facts(H100, config=LLAMA, adapters=adapters)


def plan_of(machine_: Facts, engine: str = "", own: str = "adapter: {kind: lora}") -> Plan:
    return plan_serve(spec(f"{own}\n{TEXT.replace('ENGINE', engine)}"), machine_, inputs())


def job_of(plan: Plan) -> ServeJob:
    job = plan.steps[0].job
    assert isinstance(job, ServeJob)
    return job


def flag(plan: Plan, name: str) -> str | None:
    arguments = job_of(plan).arguments
    return arguments[arguments.index(name) + 1] if name in arguments else None


def test_places() -> None:
    plan = plan_of(machine(n=adapter(), b=adapter(), c=adapter()))
    assert job_of(plan).adapters == (
        AdapterPlace(name="n", run="n", path="/store/x"),
        AdapterPlace(name="b", run="other", path="/store/x"),
        AdapterPlace(name="c", run=None, path="/store/x"),
    )
    assert plan.steps[0].inputs == {"exported": "n/exported/x", "model": "n/model/x"}
    assert plan.steps[0].environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "1"


def test_without_adapters_nothing_is_said_of_them() -> None:
    plan = plan_serve(spec("serve: {max_length: 512}"), machine(), inputs())
    assert job_of(plan).adapters == () and plan.steps[0].inputs == {"exported": "n/exported/x"}
    assert not [part for part in job_of(plan).arguments if "lora" in part]
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" not in plan.steps[0].environment


@pytest.mark.parametrize(
    ("ranks", "told"), [((16, 16, 16), "16"), ((4, 4, 4), "8"), ((24, 8, 8), "32"), ((8, 128, 129), "256"), ((8, 300, 1), "320"), ((8, 512, 1), "512")]
)
def test_rank_is_rounded_up(ranks: tuple[int, int, int], told: str) -> None:
    plan = plan_of(machine(**{name: adapter(rank) for name, rank in zip("nbc", ranks, strict=True)}))
    assert flag(plan, "--max-lora-rank") == told == why(plan, "largest rank")[0]
    assert why(plan, "largest rank")[1].startswith(f"the widest has rank {max(ranks)}")


def test_the_widest_of_a_pattern_counts() -> None:
    assert flag(plan_of(machine(n=adapter(16, rank_pattern={"q_proj": 40}))), "--max-lora-rank") == "64"


def test_rank_before_there_is_an_adapter() -> None:
    plan = plan_of(facts(H100, config=LLAMA))
    assert (flag(plan, "--max-lora-rank"), why(plan, "largest rank")[1]) == ("64", "assumed until an adapter is there")
    assert [place.path for place in job_of(plan).adapters] == [None, None, "/models/c"]


def test_room() -> None:
    """Three in a batch, and eight more in the host's memory."""
    plan = plan_of(machine())
    assert (flag(plan, "--max-loras"), flag(plan, "--max-cpu-loras")) == ("3", "11")


def test_lmdeploy() -> None:
    plan = plan_of(machine(n=adapter(24)), "engine: lmdeploy, ")
    assert len(job_of(plan).adapters) == 3 and why(plan, "serve.backend")[0] == "pytorch"
    assert why(plan, "serve.adapters") == ("n, b, c", "loaded when the engine starts: a new one takes a restart")


ALONE = "    serve it by itself: export merges it into its base"


@pytest.mark.parametrize(
    ("engine", "one", "kind", "said"),
    [
        ("", adapter(513), UsageError, "serve.adapters: rank 513 is more than vLLM 0.32.0 takes\n    serve it merged, or train it with rank 512 or less"),
        ("", adapter(use_dora=True), UsageError, f"serve.adapters: b: vLLM 0.32.0 has no DoRA\n{ALONE}"),
        ("", adapter(modules_to_save=["lm_head"]), UsageError, "does not load modules or tokens that were trained beside an adapter"),
        ("", adapter(trainable_token_indices=[5]), UsageError, "does not load modules or tokens"),
        ("", adapter(init_lora_weights="pissa"), UsageError, "has no adapter whose start changed the base (pissa)"),
        ("", adapter(bias="all"), UsageError, "has no biases of adapters"),
        ("", adapter(peft_type="LOHA"), UsageError, "takes LoRA, and this is LOHA"),
        ("", AdapterFacts(config={}, folder="/x"), UsageError, "its adapter_config.json has no rank"),
        ("", adapter(rank_pattern={"q_proj": "wide"}), UsageError, "its adapter_config.json has no rank"),
        ("", adapter(peft_type="\x1b[2J"), UsageError, r"this is '\x1b[2J'..."),
        ("", adapter(base="another"), UsageError, "serve.adapters: b: run other was trained on another base model than this one"),
        ("", None, MachineError, "serve.adapters: b: run other has no sealed adapter in this store\n    train it first, or take the entry out"),
        ("engine: lmdeploy, ", adapter(use_rslora=True), UsageError, "scales every adapter by alpha / rank, and rsLoRA by alpha / sqrt(rank)"),
        ("engine: lmdeploy, ", adapter(alpha_pattern={"q": 1}), UsageError, "has one rank and alpha for all layers of an adapter"),
        ("engine: lmdeploy, ", adapter(target_modules=".*q_proj"), UsageError, "LMDeploy 0.18.0's back end pytorch takes a list of target_modules"),
    ],
)
def test_refused(engine: str, one: AdapterFacts | None, kind: type[CaissonError], said: str) -> None:
    with pytest.raises(kind) as caught:
        plan_of(machine(b=one), engine)
    assert said in str(caught.value)


def test_a_folder_that_is_none() -> None:
    with pytest.raises(MachineError, match=r"c: /models/c has no adapter_config\.json that can be read"):
        plan_of(machine(c=None))


@pytest.mark.parametrize("one", [adapter(use_rslora=True), adapter(init_lora_weights="eva"), adapter(alpha_pattern={"q": 1}), adapter(bias="none")], ids=str)
def test_vllm_takes(one: AdapterFacts) -> None:
    assert flag(plan_of(machine(b=one)), "--max-lora-rank") == "16"


def test_the_same_base() -> None:
    given = inputs()
    assert given.model
    assert plan_of(machine(b=adapter(base=given.model.manifest.content))).steps
    assert sealed("a").manifest.content == given.model.manifest.content


@pytest.mark.parametrize("own", ["adapter: {kind: full}", "adapter: {kind: freeze}"])
def test_a_trained_model_is_no_base(own: str) -> None:
    with pytest.raises(UsageError, match="this run trains the model itself"):
        plan_of(machine(), own=own)


def test_the_own_name_is_taken() -> None:
    with pytest.raises(UsageError, match="n is the name of this run's own adapter"):
        plan_serve(spec("serve: {adapters: [{name: n, run: other}]}"), machine(), inputs())


def test_names_of_lmdeploy_s_own_templates() -> None:
    with pytest.raises(UsageError, match=r"serve\.adapters: llama2 is the name of a chat template of LMDeploy 0\.18\.0"):
        plan_serve(spec("serve: {engine: lmdeploy, max_length: 512, adapters: [{name: llama2, run: other}]}"), machine(), inputs())
    assert plan_serve(spec("serve: {max_length: 512, adapters: [{name: llama2, run: other}]}"), machine(), inputs()).steps
