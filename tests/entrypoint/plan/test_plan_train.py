"""Every branch of every decision of training."""

from typing import Any

import pytest
from known import H100, LLAMA_8B, LONG, MODEL, T4, TINY, big, facts, job_of, plan_of, refusal, why

from entrypoint.plan.tables import DEFAULTS, LOCKS
from schemas.base import Recompute
from schemas.errors import MachineError, UsageError
from schemas.facts import Facts
from schemas.job import AdapterJob, TrainJob

# -- adapter and memory


@pytest.mark.parametrize(
    ("gib", "adapter", "again"),
    [(79.6, "lora", False), (48.0, "lora", "selective"), (24.0, "lora", True), (20.0, "qlora", True), (14.0, "qlora", True)],
)
def test_auto_adapter_by_memory(gib: float, adapter: str, again: Recompute) -> None:
    job = job_of(big(gib), "", LONG)
    assert (job.adapter.kind, job.gradient_checkpointing, job.strategy, job.ranks) == (adapter, again, "single", 1)


def test_auto_adapter_says_what_did_not_fit() -> None:
    value, reason = why(plan_of(big(20.0), "", LONG), "adapter.kind")
    assert value == "qlora"
    assert reason.startswith("the first of lora, qlora that fits; qlora ") and "lora does not fit, 19." in reason
    value, reason = why(plan_of(big(79.6), "", LONG), "adapter.kind")
    assert value == "lora" and reason.startswith("the first of lora, qlora that fits; lora ")


def test_named_adapter_is_kept_or_refused() -> None:
    assert job_of(big(79.6), "adapter: {kind: qlora}", LONG).adapter.kind == "qlora"
    assert why(plan_of(big(79.6), "adapter: {kind: qlora}", LONG), "adapter.kind") == ("qlora", "set in the spec")
    said = refusal(big(16.0), "adapter: {kind: lora}", LONG)
    assert said.startswith(f"{MODEL} does not fit: lora with single at 4,096 tokens needs 2")
    assert "each GPU has 16.0 GiB" in said
    assert "use adapter.kind: qlora" in said
    assert "shorten data.max_length" not in said, "no length would do: the weights alone are 15 GiB"


def test_refusal_names_need_and_have() -> None:
    said = refusal(big(24.0), "adapter: {kind: full}", LONG)
    need, have = float(said.split("needs ")[1].split(" ")[0]), float(said.split("each GPU has ")[1].split(" ")[0])
    assert need > 120 > have == 24.0
    with pytest.raises(MachineError) as caught:
        plan_of(big(24.0), "adapter: {kind: full}", LONG)
    assert caught.value.exit_code == 3


def test_named_need_is_enough() -> None:
    """A card of the size that the refusal names does fit."""
    need = float(refusal(big(16.0), "adapter: {kind: lora}", LONG).split("needs ")[1].split(" ")[0])
    assert job_of(big(need + 0.06), "adapter: {kind: lora}", LONG).adapter.kind == "lora"
    refusal(big(need - 0.5), "adapter: {kind: lora}", LONG)


def test_qlora_that_does_not_fit_is_not_told_to_use_qlora() -> None:
    said = refusal(big(4.0), "adapter: {kind: qlora}", LONG)
    assert "use adapter.kind: qlora" not in said


def test_refusal_on_a_cpu() -> None:
    said = refusal(facts(config=LLAMA_8B, ram_gib=8.0), "adapter: {kind: lora}", LONG)
    assert "this machine has 8.0 GiB" in said
    said = refusal(facts(config=LLAMA_8B, ram_gib=32.0), "adapter: {kind: lora}\nhardware: {strategy: ddp}", LONG)
    assert "each of 2 processes has 16.0 GiB" in said, "processes on a CPU share its memory"


def test_unknown_shape_is_not_estimated() -> None:
    for config in (None, {**TINY, "num_experts": 8}):
        plan = plan_of(facts(H100, config=config))
        assert why(plan, "memory")[0] == "not estimated"
        assert isinstance(plan.steps[0].job, TrainJob)
        assert plan.steps[0].job.adapter.kind == "lora"


def test_memory_line_adds_up() -> None:
    value, terms = why(plan_of(big(79.6), "", LONG), "memory")
    total, _, rest = value.partition(" of ")
    assert rest == "79.6 GiB"
    assert sum(float(t.rpartition(" ")[2]) for t in terms.split(", ")) == pytest.approx(float(total), abs=0.1)
    assert float(total) <= 0.9 * 79.6


# -- strategy


@pytest.mark.parametrize(
    ("cards", "text", "strategy", "ranks"),
    [
        ((), "", "single", 1),
        ((79.6,), "", "single", 1),
        ((79.6,) * 8, "", "ddp", 8),
        ((20.0,) * 8, "adapter: {kind: lora}", "zero3", 8),
        ((79.6,) * 8, "adapter: {kind: full}", "zero2", 8),
        ((40.0,) * 8, "adapter: {kind: full}", "zero2", 8),
        ((32.0,) * 8, "adapter: {kind: full}", "zero3", 8),
        ((79.6,) * 8, "hardware: {strategy: single}", "single", 1),
        ((79.6,) * 8, "hardware: {strategy: zero1}", "zero1", 8),
        ((79.6,) * 2, "hardware: {strategy: zero3}", "zero3", 2),
        ((79.6,), "hardware: {strategy: zero2}", "zero2", 1),
    ],
)
def test_strategy(cards: tuple[float, ...], text: str, strategy: str, ranks: int) -> None:
    machine = big(*cards).model_copy(update={"ram_gib": 500.0}) if cards else facts()
    plan = plan_of(machine, text, LONG)
    job = plan.steps[0].job
    assert isinstance(job, TrainJob)
    assert (job.strategy, job.ranks) == (strategy, ranks)
    assert why(plan, "hardware.strategy")[0] == f"{strategy}, {ranks} process(es)"
    assert bool(job.engine) is strategy.startswith("zero")
    assert (f"--ranks={ranks}" in plan.steps[0].argv) is (strategy != "single")


@pytest.mark.parametrize("strategy", ["ddp", "zero1", "zero2", "zero3"])
def test_two_processes_on_a_cpu(strategy: str) -> None:
    plan = plan_of(facts(), f"hardware: {{strategy: {strategy}}}")
    job = plan.steps[0].job
    assert isinstance(job, TrainJob)
    assert job.ranks == 2
    assert plan.steps[0].environment["OMP_NUM_THREADS"] == "4"
    assert plan.steps[0].environment.get("DS_ACCELERATOR") == (None if strategy == "ddp" else "cpu")


def test_strategy_says_why() -> None:
    assert why(plan_of(facts(H100)), "hardware.strategy")[1] == "one device"
    assert why(plan_of(facts(H100, H100)), "hardware.strategy")[1].startswith("2 GPUs, and a whole copy fits on each; ddp ")
    assert why(plan_of(big(*(20.0,) * 8), "adapter: {kind: lora}", LONG), "hardware.strategy")[1].startswith("8 GPUs; weights in shares; zero3 ")
    assert why(plan_of(facts(H100), "hardware: {strategy: ddp}"), "hardware.strategy")[1] == "set in the spec"


def test_qlora_does_not_go_with_zero3_and_the_neighbours_are_named() -> None:
    said = refusal(facts(H100, H100), "adapter: {kind: qlora}\nhardware: {strategy: zero3}", kind=UsageError)
    assert said == (
        "hardware.strategy: zero3 cannot shard 4-bit weights, so qlora does not go with it\n    use strategy: ddp with qlora, or adapter.kind: lora with zero3"
    )


def test_auto_with_zero3_takes_lora() -> None:
    assert job_of(big(*(24.0,) * 8), "hardware: {strategy: zero3}", LONG).adapter.kind == "lora"
    said = refusal(big(*(4.0,) * 8), "hardware: {strategy: zero3}", LONG)
    assert "use" not in said.partition("\n")[2].partition(";")[0].removeprefix("    shorten data.max_length")


# -- recomputation


@pytest.mark.parametrize(
    ("gib", "text", "again", "reason"),
    [
        (79.6, "", False, "memory suffices"),
        (48.0, "", "selective", "those of every second layer are kept; with selective recomputation, "),
        (24.0, "adapter: {kind: lora}", True, "activations do not fit without"),
        (79.6, "train: {gradient_checkpointing: selective}", "selective", "set in the spec"),
        (79.6, "train: {gradient_checkpointing: true}", True, "set in the spec"),
        (79.6, "train: {gradient_checkpointing: false}", False, "set in the spec"),
    ],
)
def test_gradient_checkpointing(gib: float, text: str, again: Recompute, reason: str) -> None:
    plan = plan_of(big(gib), text, LONG)
    value, said = why(plan, "train.gradient_checkpointing")
    assert value == str(again).lower()
    assert reason in said


def test_checkpointing_off_can_be_what_does_not_fit() -> None:
    refusal(big(40.0), "train: {gradient_checkpointing: false}\nadapter: {kind: lora}", LONG)


# -- the rest


@pytest.mark.parametrize(
    ("machine", "text", "precision"),
    [(facts(), "", "fp32"), (facts(H100), "", "bf16"), (facts(T4), "", "fp16"), (facts(H100), "train: {precision: fp32}", "fp32")],
)
def test_precision(machine: Facts, text: str, precision: str) -> None:
    assert job_of(machine, text).precision == precision


@pytest.mark.parametrize("adapter", ["full", "lora", "qlora"])
def test_learning_rate(adapter: str) -> None:
    plan = plan_of(facts(H100), f"adapter: {{kind: {adapter}}}")
    row = DEFAULTS["learning_rate"]["sft"]["full" if adapter == "full" else "adapter"]
    assert isinstance(plan.steps[0].job, TrainJob)
    assert plan.steps[0].job.learning_rate == row["value"]
    (decision,) = [d for d in plan.decisions if d.field == "train.learning_rate"]
    assert decision.source == row["source"] != ""


def test_learning_rate_of_the_spec_is_not_a_decision() -> None:
    plan = plan_of(facts(), "train: {learning_rate: 0.003}")
    assert [d for d in plan.decisions if d.field == "train.learning_rate"] == []
    assert isinstance(plan.steps[0].job, TrainJob)
    assert plan.steps[0].job.learning_rate == 0.003


@pytest.mark.parametrize(
    ("text", "job"),
    [
        ("adapter: {kind: full}", AdapterJob(kind="full")),
        ("", AdapterJob(kind="lora", rank=16, alpha=32.0, dropout=0.0, targets="all-linear")),
        ("adapter: {kind: lora, rank: 4}", AdapterJob(kind="lora", rank=4, alpha=8.0, dropout=0.0, targets="all-linear")),
        ("adapter: {kind: lora, rank: 4, alpha: 5}", AdapterJob(kind="lora", rank=4, alpha=5.0, dropout=0.0, targets="all-linear")),
        ("adapter: {kind: qlora, dropout: 0.1, targets: [q_proj]}", AdapterJob(kind="qlora", rank=16, alpha=32.0, dropout=0.1, targets=("q_proj",))),
    ],
)
def test_adapter(text: str, job: AdapterJob) -> None:
    assert job_of(facts(), text).adapter == job


def test_what_is_set_is_not_explained_as_a_default() -> None:
    fields = {d.field for d in plan_of(facts(), "adapter: {kind: lora, rank: 4, alpha: 5, targets: [q_proj]}").decisions}
    assert not fields & {"adapter.rank", "adapter.alpha", "adapter.targets"}
    assert {d.field for d in plan_of(facts()).decisions} >= {"adapter.rank", "adapter.alpha", "adapter.targets"}


@pytest.mark.parametrize(
    ("text", "every"),
    [
        ("train: {batch_tokens: 100}", 50),  # 1000 steps
        ("train: {batch_tokens: 100, epochs: 3.0}", 150),
        ("train: {batch_tokens: 100, max_steps: 40}", 2),
        ("train: {batch_tokens: 100, max_steps: 3}", 1),
        ("train: {batch_tokens: 100, checkpoint: {every: 7}}", 7),
    ],
)
def test_checkpoints(text: str, every: int) -> None:
    assert job_of(facts(), text).checkpoint_every == every


def test_fields_are_handed_on() -> None:
    job = job_of(
        facts(),
        "train: {epochs: 2.5, max_steps: 9, schedule: cosine, warmup: 10%, weight_decay: 0.1, max_grad_norm: 0.5, seed: 3, checkpoint: {keep: 4}}\ntrack: []",
    )
    found: dict[str, Any] = job.model_dump() | job.optimisation.model_dump()
    assert {k: found[k] for k in ("epochs", "max_steps", "schedule", "warmup", "weight_decay", "max_grad_norm", "seed", "keep", "track")} == {
        "epochs": 2.5, "max_steps": 9, "schedule": "cosine", "warmup": 0.1, "weight_decay": 0.1, "max_grad_norm": 0.5, "seed": 3, "keep": 4, "track": (),
    }  # fmt: skip


def test_max_grad_norm_reaches_deepspeed() -> None:
    assert job_of(facts(H100), "hardware: {strategy: zero2}\ntrain: {max_grad_norm: 0.3}").engine["gradient_clipping"] == 0.3


def test_deepspeed_counts_the_same_batch() -> None:
    job = job_of(facts(H100, H100), "hardware: {strategy: zero2}\ntrain: {batch_tokens: 3200}")
    assert (job.engine["train_micro_batch_size_per_gpu"], job.engine["gradient_accumulation_steps"]) == (job.micro_batch, job.accumulation)


def test_step() -> None:
    (step,) = plan_of(facts()).steps
    assert step.argv == ("python", "-m", "entrypoint.run.train", "{task}")
    assert step.inputs == {"model": "n/model/x", "prepared": "n/prepared/x"}
    assert step.image_lock == LOCKS["train"]["cpu"]
    assert plan_of(facts(H100)).steps[0].image_lock == LOCKS["train"]["cuda"]


def test_cuda_image_without_a_gpu() -> None:
    assert "sees no GPU" in refusal(facts(device="cuda"))
