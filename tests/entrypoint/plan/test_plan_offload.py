"""Offload to the host's memory: what it goes with, what it frees, and when the host has too little."""

from typing import Any

import pytest
from known import LLAMA_8B, card, facts, inputs, spec, why

from entrypoint.plan import plan_train
from schemas.errors import MachineError, UsageError
from schemas.facts import Facts
from schemas.job import TrainJob
from schemas.plan import Plan

LONG = inputs(rows=10_000, tokens=10_000 * 1000, longest=4096)
FULL = "adapter: {kind: full}\n"


def machine(*gibs: float, ram: float) -> Facts:
    return facts(*(card(gib) for gib in gibs), config=LLAMA_8B, ram_gib=ram)


def plan_of(where: Facts, text: str) -> Plan:
    return plan_train(spec(text), where, LONG)


def job_of(plan: Plan) -> TrainJob:
    job = plan.steps[0].job
    assert isinstance(job, TrainJob)
    return job


def refusal(where: Facts, text: str, kind: type[Exception] = MachineError) -> str:
    with pytest.raises(kind) as caught:
        plan_of(where, text)
    return str(caught.value)


@pytest.mark.parametrize("offload", ["cpu", "nvme"])
@pytest.mark.parametrize("strategy", ["single", "ddp"])
def test_it_goes_with_zero_only_and_the_neighbour_is_named(strategy: str, offload: str) -> None:
    said = refusal(machine(80.0, ram=500.0), f"hardware: {{strategy: {strategy}, offload: {offload}}}", UsageError)
    assert said.startswith(f"hardware.offload: {offload} is DeepSpeed's, so {strategy} does not go with it")
    assert f"use strategy: zero2 with offload: {offload}" in said
    neighbour = plan_of(machine(80.0, ram=500.0), "hardware: {strategy: zero2, offload: cpu}")
    assert "offload_optimizer" in job_of(neighbour).engine["zero_optimization"]


@pytest.mark.parametrize("strategy", ["zero1", "zero2", "zero3"])
def test_a_named_strategy_is_kept(strategy: str) -> None:
    job = job_of(plan_of(machine(80.0, 80.0, ram=500.0), f"hardware: {{strategy: {strategy}, offload: cpu}}"))
    assert (job.strategy, job.ranks) == (strategy, 2)
    assert ("offload_param" in job.engine["zero_optimization"]) is (strategy == "zero3")


def test_what_no_card_holds_trains_with_offload() -> None:
    """16 bytes for each of 8 billion weights are 120 GiB."""
    said = refusal(machine(48.0, ram=500.0), FULL)
    assert "use hardware: {strategy: zero2, offload: cpu}, which is slower" in said
    plan = plan_of(machine(48.0, ram=500.0), f"{FULL}hardware: {{strategy: zero2, offload: cpu}}")
    assert job_of(plan).strategy == "zero2"
    assert "use hardware" not in refusal(machine(48.0, ram=64.0), FULL), "this host could not hold it either"


def test_what_the_host_does_not_hold_either_trains_with_files() -> None:
    where = machine(48.0, ram=128.0).model_copy(update={"disk_free_gib": 400.0})
    assert "use hardware: {strategy: zero2, offload: nvme}, which is much slower" in refusal(where, FULL)
    plan = plan_of(where, f"{FULL}hardware: {{strategy: zero2, offload: nvme}}")
    assert job_of(plan).offload == "nvme"
    assert why(plan, "offload files")[0] == "209.4 of 400.0 GiB on the store"
    value, reason = why(plan, "offload step")
    assert value.startswith("at most ") and "GiB are read and written at" in reason
    assert "use hardware" not in refusal(where.model_copy(update={"disk_free_gib": 100.0}), FULL)


def test_a_disk_that_is_too_small_is_refused_with_its_terms() -> None:
    where = machine(48.0, ram=128.0).model_copy(update={"disk_free_gib": 100.0})
    said = refusal(where, f"{FULL}hardware: {{offload: nvme}}")
    assert said.startswith("hardware.offload: nvme fills 209.4 GiB of the store (checkpoint copy 89.75, optimizer 59.83, fp32 weights 29.92, gradients 29.92)")
    assert "100.0 GiB are free" in said and "offload: cpu" in said


@pytest.mark.parametrize(("strategy", "terms"), [("zero2", {"checkpoint copy", "optimizer", "fp32 weights", "gradients"}), ("zero3", {"weights"})])
def test_files_hold_what_memory_held(strategy: str, terms: set[str]) -> None:
    where = machine(80.0, ram=900.0).model_copy(update={"disk_free_gib": 900.0})
    plan = plan_of(where, f"{FULL}hardware: {{strategy: {strategy}, offload: nvme}}")
    assert all(term in why(plan, "offload files")[1] for term in terms)
    host = why(plan, "host memory")[1]
    assert "checkpoint copy" not in host and "optimizer" not in host and "fp32 weights, at the start" in host
    assert ("weights, at the start 14.96" in host.replace("fp32 weights, at", "")) is (strategy == "zero3")


def test_several_nodes_keep_no_such_files_on_their_store() -> None:
    said = refusal(machine(80.0, ram=500.0), "hardware: {strategy: zero3, offload: nvme, nodes: 2, rendezvous: 'h:29400'}", UsageError)
    assert "several nodes reach over a network" in said and "use offload: cpu, or one node" in said


@pytest.mark.parametrize(("gib", "strategy", "reason"), [(48.0, "zero2", "the weights fit where they compute"), (20.0, "zero3", "layers come one by one")])
def test_automatic_strategy_under_offload(gib: float, strategy: str, reason: str) -> None:
    plan = plan_of(machine(gib, ram=500.0), f"{FULL}hardware: {{offload: cpu}}")
    assert (job_of(plan).strategy, job_of(plan).ranks) == (strategy, 1)
    assert reason in why(plan, "hardware.strategy")[1]
    assert "entrypoint.run.launch" in plan.steps[0].argv


def test_host_memory_that_is_too_little_is_refused_with_its_terms() -> None:
    said = refusal(machine(48.0, ram=128.0), f"{FULL}hardware: {{offload: cpu}}")
    assert said.startswith("/models/m does not fit: full with zero2 and offload: cpu needs ")
    assert "GiB of the host's memory (checkpoint copy 89.75, optimizer 59.83, gradients " in said
    assert "this machine has 128.0 GiB" in said and "use adapter.kind: lora" in said and "data.max_length" not in said
    need = float(said.split("needs ")[1].split(" ")[0])
    plan_of(machine(48.0, ram=need + 0.1), f"{FULL}hardware: {{offload: cpu}}")
    refusal(machine(48.0, ram=need - 0.5), f"{FULL}hardware: {{offload: cpu}}")


def test_the_copy_of_a_checkpoint_takes_host_memory_without_offload_too() -> None:
    cards = (80.0,) * 8
    value, terms = why(plan_of(machine(*cards, ram=500.0), FULL), "host memory")
    assert (value, terms) == ("89.7 of 500.0 GiB", "checkpoint copy 89.75")
    assert "needs 99.8 GiB of the host's memory (checkpoint copy 89.75, and a tenth free), this machine has 64.0 GiB" in refusal(
        machine(*cards, ram=64.0), FULL
    )


@pytest.mark.parametrize(("ram", "pin"), [(300.0, False), (600.0, True)])
def test_memory_is_page_locked_where_its_rounding_fits(ram: float, pin: bool) -> None:
    zero: dict[str, Any] = job_of(plan_of(machine(48.0, ram=ram), f"{FULL}hardware: {{strategy: zero2, offload: cpu}}")).engine["zero_optimization"]
    assert zero["offload_optimizer"]["pin_memory"] is pin


def test_four_bits_and_offload() -> None:
    assert job_of(plan_of(machine(24.0, ram=64.0), "adapter: {kind: qlora}\nhardware: {offload: cpu}")).strategy == "zero2"
    said = refusal(machine(24.0, ram=64.0), "adapter: {kind: qlora}\nhardware: {strategy: zero3, offload: cpu}", UsageError)
    assert "zero3 cannot shard 4-bit weights" in said


def test_on_a_cpu_there_is_one_memory() -> None:
    plan = plan_of(machine(ram=500.0), "hardware: {offload: cpu}")
    assert (job_of(plan).strategy, job_of(plan).ranks) == ("zero2", 2)
    assert [d.field for d in plan.decisions if d.field == "host memory"] == []
    assert job_of(plan).engine["zero_optimization"]["offload_optimizer"] == {"device": "cpu", "pin_memory": False}
