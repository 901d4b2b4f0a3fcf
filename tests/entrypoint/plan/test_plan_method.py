"""What a method asks of a training: sequences, a frozen copy, a learning rate, and what the plan says of each."""

import pytest
from known import H100, LLAMA_8B, LONG, TINY, card, facts, inputs, job_of, plan_of, refusal, sealed, spec, why

from entrypoint.plan import plan_export, plan_serve
from entrypoint.plan.method import needs_of
from entrypoint.plan.tables import DEFAULTS
from schemas.errors import UsageError
from schemas.facts import ModelFacts
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
    assert memory_of(pairs, "activations") == pytest.approx(2 * memory_of(single, "activations"), rel=0.1)


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
        ("{kind: pretrain}", "pretrain"),
        ("{kind: dpo}", "dpo, beta 0.1, loss sigmoid, label smoothing 0, divergence reverse_kl"),
        (
            "{kind: dpo, loss: [sigmoid, sft], weights: [1.0, 0.2]}",
            "dpo, beta 0.1, loss sigmoid + sft, weights 1 + 0.2, label smoothing 0, divergence reverse_kl",
        ),
        ("{kind: orpo}", "orpo, beta 0.1"),
        ("{kind: simpo}", "simpo, beta 2, gamma 1, chosen weight 0"),
        ("{kind: cpo}", "cpo, loss sigmoid, beta 0.1, label smoothing 0, chosen weight 1"),
        ("{kind: kto}", "kto, loss kto, beta 0.1, desirable weight 1, undesirable weight 1"),
        ("{kind: reward}", "reward, center 0"),
    ],
)
def test_every_setting_is_said(method: str, said: str) -> None:
    assert why(plan_of(facts(H100), f"method: {method}"), "method")[0] == said


def test_kto_computes_two_rows_at_least() -> None:
    """Its estimate pairs the answer of one row with the prompt of another."""
    assert job_of(facts(H100), "method: {kind: kto}\ntrain: {batch_tokens: 16}").micro_batch == 2
    assert job_of(facts(H100), "method: {kind: kto, loss: apo_zero_unpaired}\ntrain: {batch_tokens: 16}").micro_batch == 1


def test_logits_that_exist_whole_are_counted() -> None:
    long = "train: {batch_tokens: 16}"
    whole = plan_of(facts(H100, config=LLAMA_8B), f"method: {{kind: orpo}}\n{long}", LONG)
    assert memory_of(whole, "logits") > 10, "of two rows of 4,096 tokens, 14 bytes each"
    assert "logits" not in why(plan_of(facts(H100, config=LLAMA_8B), f"method: {{kind: reward}}\n{long}", LONG), "memory")[1]


def test_a_reward_model_is_exported_and_not_served() -> None:
    wanted = spec("method: {kind: reward}")
    assert any(d.value == "a sequence classifier with one output" for d in plan_export(wanted, facts(H100), inputs()).decisions)
    with pytest.raises(UsageError, match="a reward model answers no question"):
        plan_serve(wanted, facts(H100), inputs())


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


TAUGHT = "method: {kind: distil, teacher: /models/large}\n"


def test_a_teacher_is_an_input_and_counts_in_memory() -> None:
    large = ModelFacts(config=LLAMA_8B)
    machine = facts(H100, config={**TINY, "vocab_size": 128256})
    plan = plan_of(machine.model_copy(update={"models": {**machine.models, "/models/large": large}}), TAUGHT)
    assert memory_of(plan, "teacher") == pytest.approx(2 * 8.03e9 / 2**30, rel=0.01)
    assert "in the memory above" in why(plan, "teacher")[1]
    assert "not at hand before fetch" in why(plan_of(machine, TAUGHT), "teacher")[1]
    assert not plan.steps[0].identity, "the teacher is not sealed yet"
    ready = plan_of(machine, TAUGHT, inputs(teacher=sealed("models/large")))
    assert ready.steps[0].identity and ready.steps[0].inputs["teacher"] == "models/large"


def test_a_teacher_with_fewer_tokens_is_refused() -> None:
    machine = facts(H100, config=LLAMA_8B)
    machine = machine.model_copy(update={"models": {**machine.models, "/models/large": ModelFacts(config=TINY)}})
    assert "vocabulary of 1,000 tokens, the model has 128,256" in refusal(machine, TAUGHT, kind=UsageError)


def test_a_teacher_is_not_shared_out_by_fsdp() -> None:
    assert "fsdp does not shard the teacher" in refusal(facts(H100, H100), f"{TAUGHT}hardware: {{strategy: fsdp}}", kind=UsageError)


@pytest.mark.parametrize(("method", "against"), [(PAIRS, "dpo compares whole answers"), (TAUGHT, "distil's trainer hands the models no places")])
def test_rows_that_cannot_be_packed_say_why(method: str, against: str) -> None:
    rows = "data: {train: [{source: /d}]}\n"
    assert against in why(plan_of(facts(H100), method + rows), "data.packing")[1]
    assert against in refusal(facts(H100), f"{method}data: {{train: [{{source: /d}}], packing: true}}", kind=UsageError)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("method: {kind: dpo}\ntrain: {label_smoothing: 0.1}", "write method.label_smoothing instead"),
        ("method: {kind: kto}\ntrain: {label_smoothing: 0.1}", "smooths the loss of the next token, which kto does not take"),
        ("method: {kind: orpo}\ntrain: {group_by_length: true}", "pairs, whose two answers differ in length"),
        ("method: {kind: reward}\nadapter: {kind: freeze}", "reward's head is new"),
    ],
)
def test_settings_of_another_loss_are_refused(text: str, words: str) -> None:
    assert words in refusal(facts(H100), text, kind=UsageError)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{PAIRS}adapter: {{kind: pissa}}", "no longer the model that dpo compares with"),
        ("method: {kind: kto}\nadapter: {kind: olora}", "no longer the model that kto compares with"),
        ("method: {kind: simpo}\ntrain: {neftune: 5.0}", "neftune adds noise to all that simpo compares"),
    ],
)
def test_what_would_move_the_reference_is_refused(text: str, said: str) -> None:
    assert said in refusal(facts(H100), text, kind=UsageError)
    assert plan_of(facts(H100), text.replace("dpo", "orpo").replace("kto", "cpo").replace("train: {neftune: 5.0}", ""))
