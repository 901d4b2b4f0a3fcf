"""Optimizer, schedule and validation: what is decided and what is refused."""

import pytest
from known import H100, LLAMA_8B, facts, inputs, job_of, plan_of, refusal, sealed, why

from entrypoint.plan.optimisation import WHOLE, WHY_WHOLE
from schemas.errors import MachineError, SpecError, UsageError


def test_defaults() -> None:
    job = job_of(facts(H100))
    told = job.optimisation
    assert (told.optimizer, told.schedule, told.warmup, told.warmup_steps, told.decay, told.min_rate) == ("adamw", "linear", 0.03, None, 0.0, 0.0)
    assert (told.neftune, told.label_smoothing, told.group_by_length) == (None, 0.0, False)
    assert job.validation.model_dump() == {"every": None, "metric": "loss", "patience": None, "min_delta": 0.0, "best": False}
    assert job.validation_rows == job.micro_batch


@pytest.mark.parametrize("name", WHY_WHOLE)
@pytest.mark.parametrize("strategy", ["fsdp", "zero1", "zero2", "zero3"])
def test_optimizers_of_whole_parameters_are_refused_with_shares(name: str, strategy: str) -> None:
    said = refusal(facts(H100, H100), f"train: {{optimizer: {name}}}\nhardware: {{strategy: {strategy}}}", kind=UsageError)
    assert said.startswith(f"train.optimizer: {name} does not go with {strategy}: ")
    assert f"use strategy: ddp or single with {name}, or optimizer: adamw with {strategy}" in said


@pytest.mark.parametrize("name", WHY_WHOLE)
def test_automatic_strategies_keep_parameters_whole(name: str) -> None:
    assert job_of(facts(H100, H100), f"train: {{optimizer: {name}}}").strategy == "ddp"
    small = facts(*(H100.model_copy(update={"memory_gib": 14.0}),) * 8, config=LLAMA_8B)
    assert "does not fit" in refusal(small, f"adapter: {{kind: lora}}\ntrain: {{optimizer: {name}}}")
    said = refusal(facts(H100), f"train: {{optimizer: {name}}}\nhardware: {{offload: cpu}}", kind=UsageError)
    assert "does not go with offload: cpu" in said


@pytest.mark.parametrize("name", ["paged_adamw", "paged_adamw_8bit"])
def test_pages_need_two_memories(name: str) -> None:
    said = refusal(facts(), f"train: {{optimizer: {name}}}", kind=MachineError)
    assert "a CPU has one" in said and f"use optimizer: {name.removeprefix('paged_')}" in said
    assert job_of(facts(H100), f"train: {{optimizer: {name}}}").optimisation.optimizer == name


def test_a_small_state_makes_room() -> None:
    """Full weights of an 8B model on one GPU: AdamW does not fit, Adafactor does."""
    machine = facts(H100, config=LLAMA_8B, ram_gib=256.0)
    assert "does not fit" in refusal(machine, "adapter: {kind: full}")
    assert job_of(machine, "adapter: {kind: full}\ntrain: {optimizer: adafactor, gradient_checkpointing: true}").optimisation.optimizer == "adafactor"


def test_label_smoothing_needs_room_for_all_logits() -> None:
    """On a card where eight rows at once fit without it."""
    machine = facts(H100, config=LLAMA_8B)
    long = inputs(rows=10_000, tokens=10_000 * 4096, longest=4096)
    text = "data: {train: [{source: /d}], packing: false}\ntrain: {gradient_checkpointing: true"
    assert job_of(machine, text + ", label_smoothing: 0.1}", long).micro_batch < job_of(machine, text + "}", long).micro_batch


def test_wsd_says_how_long_it_decays() -> None:
    plan = plan_of(facts(H100), "train: {schedule: wsd}")
    assert why(plan, "train.decay") == ("20%", "default")
    assert job_of(facts(H100), "train: {schedule: wsd, decay: 10%, min_rate: 5%}").optimisation.model_dump(include={"decay", "min_rate"}) == {
        "decay": 0.1, "min_rate": 0.05,
    }  # fmt: skip
    assert job_of(facts(H100), "train: {warmup_steps: 7}").optimisation.warmup_steps == 7


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ("{warmup: 5%, warmup_steps: 3}", "has the warm-up as a share and in steps"),
        ("{decay: 10%}", "decay is for schedule: wsd"),
        ("{min_rate: 10%}", "min_rate is for schedule: cosine or wsd"),
        ("{schedule: wsd, warmup: 60%, decay: 50%}", "warms up and decays over more than all steps"),
        ("{optimizer: sgd}", "sgd"),
        ("{neftune: 0}", "neftune"),
        ("{validation: {patience: 0}}", "patience"),
        ("{validation: {metric: 'Loss!'}}", "metric"),
    ],
)
def test_numbers_that_make_no_sense_are_refused_by_the_spec(train: str, said: str) -> None:
    assert said in refusal(facts(H100), f"train: {train}", kind=SpecError)


@pytest.mark.parametrize("wish", ["patience: 2", "best: true", "every: 10"])
def test_what_follows_from_a_validation_needs_rows_for_one(wish: str) -> None:
    name = wish.partition(":")[0]
    text = f"data: {{train: [{{source: /d}}], validation: 0%}}\ntrain: {{validation: {{{wish}}}}}"
    said = refusal(facts(H100), text, kind=UsageError)
    assert said.startswith(f"train.validation.{name}: there are no rows to validate with")
    none = sealed("n/prepared/x", "prepare", {"train": {"rows": 9, "tokens": 900, "longest": 100}, "validation": {"rows": 0}})
    assert "there are no rows" in refusal(facts(H100), f"train: {{validation: {{{wish}}}}}", inputs(prepared=none), kind=UsageError), "5% of few rows is none"


def test_validation_is_told_to_the_trainer() -> None:
    text = "train: {validation: {every: 20, batch_rows: 3, metric: mean_token_accuracy, patience: 4, min_delta: 0.01, best: true}}"
    some = sealed("n/prepared/x", "prepare", {"train": {"rows": 99, "tokens": 9900, "longest": 100}, "validation": {"rows": 5}})
    plan = plan_of(facts(H100), text, inputs(prepared=some))
    job = plan.steps[0].job
    assert job.validation.model_dump() == {"every": 20, "metric": "mean_token_accuracy", "patience": 4, "min_delta": 0.01, "best": True}  # type: ignore[union-attr]
    assert job.validation_rows == 3  # type: ignore[union-attr]
    assert why(plan, "train.validation.best")[0] == "true"


def test_strategies_that_hold_whole_parameters() -> None:
    assert WHOLE == ("single", "ddp")
