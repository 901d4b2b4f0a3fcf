"""What a method asks of a training: sequences, a frozen copy, a learning rate, and what the plan says of each."""

import pytest
from known import H100, LLAMA_8B, card, facts, job_of, plan_of, refusal, spec, why

from entrypoint.plan.method import needs_of
from entrypoint.plan.tables import DEFAULTS
from schemas.errors import UsageError
from schemas.job import TrainJob
from schemas.method import Dpo

PAIRS = "method: {kind: dpo}\n"


def test_the_reference_is_the_base_under_an_adapter() -> None:
    value, reason = why(plan_of(facts(H100), f"{PAIRS}adapter: {{kind: lora}}"), "reference model")
    assert value == "the base under the adapter" and "no second copy" in reason
    assert "frozen copy" not in why(plan_of(facts(H100), f"{PAIRS}adapter: {{kind: lora}}"), "memory")[1]


def test_full_weights_keep_a_copy_that_memory_counts() -> None:
    plan = plan_of(facts(*[H100] * 8, config=LLAMA_8B, ram_gib=1000.0), f"{PAIRS}adapter: {{kind: full}}")
    assert why(plan, "reference model")[0] == "a frozen copy of the base"
    assert "frozen copy" in why(plan, "memory")[1]
    alone = plan_of(facts(*[H100] * 8, config=LLAMA_8B, ram_gib=1000.0), "adapter: {kind: full}")
    assert [d for d in alone.decisions if d.field == "reference model"] == []


def test_a_pair_takes_the_activations_of_two_rows() -> None:
    pairs, single = (plan_of(facts(H100, config=LLAMA_8B), f"{text}train: {{batch_tokens: 16}}") for text in (PAIRS, ""))
    assert memory_of(pairs, "activations") == pytest.approx(2 * memory_of(single, "activations"), rel=0.01)


def memory_of(plan, term: str) -> float:  # type: ignore[no-untyped-def]
    return float(why(plan, "memory")[1].split(f"{term} ")[1].split(",")[0])


def test_ipo_is_dpo_with_its_loss() -> None:
    job = job_of(facts(H100), "method: {kind: ipo, beta: 0.3}")
    assert job.method == Dpo(kind="dpo", loss=("ipo",), beta=0.3)
    assert why(plan_of(facts(H100), "method: {kind: ipo, beta: 0.3}"), "method")[0] == "ipo, beta 0.3"


def test_a_job_is_read_back_as_it_was_written() -> None:
    job = job_of(facts(H100), "method: {kind: dpo, loss: [robust, sft], weights: [1.0, 0.2], label_smoothing: 0.1}")
    assert TrainJob.model_validate_json(job.model_dump_json()) == job


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("{kind: sft, loss_on: all}", "sft, loss on all"),
        ("{kind: pretrain}", "pretrain, loss on every token"),
        ("{kind: dpo}", "dpo, loss sigmoid, beta 0.1"),
        ("{kind: dpo, loss: [sigmoid, sft], weights: [1.0, 0.2]}", "dpo, loss sigmoid + 0.2 x sft, beta 0.1"),
        ("{kind: dpo, loss: [robust], label_smoothing: 0.2}", "dpo, loss robust, beta 0.1, label_smoothing 0.2"),
        ("{kind: dpo, divergence: alpha_divergence}", "dpo, loss sigmoid, beta 0.1, alpha_divergence 0.5"),
        ("{kind: dpo, divergence: js_divergence}", "dpo, loss sigmoid, beta 0.1, js_divergence"),
    ],
)
def test_every_setting_is_said(method: str, said: str) -> None:
    assert why(plan_of(facts(H100), f"method: {method}"), "method")[0] == said


@pytest.mark.parametrize("kind", DEFAULTS["learning_rate"])
@pytest.mark.parametrize("adapter", ["full", "adapter"])
def test_defaults_lie_in_their_bands_and_have_a_source(kind: str, adapter: str) -> None:
    row = DEFAULTS["learning_rate"][kind][adapter]
    low, high = row["band"]
    assert low < row["value"] < high and row["source"]


@pytest.mark.parametrize(("rate", "tells"), [("2.0e-4", "may forget"), ("1.0e-7", "next to nothing")])
def test_a_rate_outside_the_band_is_warned_of(rate: str, tells: str) -> None:
    """2e-4 is what sft takes: five hundred times what shipped recipes for dpo span is the commonest mistake."""
    plan = plan_of(facts(H100), f"{PAIRS}adapter: {{kind: lora}}\ntrain: {{learning_rate: {rate}}}")
    value, reason = why(plan, "warning: train.learning_rate")
    assert value == f"{float(rate):g}" and tells in reason and "1e-06 to 0.0001" in reason
    assert job_of(facts(H100), f"{PAIRS}train: {{learning_rate: {rate}}}").learning_rate == float(rate)


@pytest.mark.parametrize(("hardware", "said"), [("{strategy: fsdp}", "use strategy: zero3"), ("{offload: cpu, strategy: zero2}", "needs no copy")])
def test_a_copy_that_no_engine_shares_out_is_refused(hardware: str, said: str) -> None:
    machine = facts(card(79.6), card(79.6), ram_gib=500.0)
    assert said in refusal(machine, f"{PAIRS}adapter: {{kind: full}}\nhardware: {hardware}", kind=UsageError)
    assert plan_of(machine, f"{PAIRS}adapter: {{kind: lora}}\nhardware: {{strategy: fsdp}}")


def test_needs() -> None:
    assert needs_of(spec(PAIRS).method, "full").copy and not needs_of(spec(PAIRS).method, "qlora").copy
    assert needs_of(spec(PAIRS).method, "lora").sequences == 2 and needs_of(spec().method, "full").sequences == 1
