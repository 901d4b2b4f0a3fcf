"""What a checkpoint costs, how far two lie apart, and how long a stop is given."""

from dataclasses import replace

import pytest
from known import H100, LLAMA_8B, facts, inputs, spec, why

from entrypoint.plan import plan_train
from entrypoint.plan.load import GIB, Load
from entrypoint.plan.saves import APART, COMPOSE_GRACE, COST, END_SECONDS, STEP_SECONDS, saves_of
from entrypoint.plan.tables import DEFAULTS
from schemas.facts import Facts
from schemas.job import TrainJob
from schemas.plan import Plan

LOAD = Load(adapter="full", rank=16, precision="bf16", strategy="single", ranks=1, micro_batch=1, length=64, gradient_checkpointing=False, on_gpu=True)


def eight_cards(**other: object) -> Facts:
    return facts(*(H100,) * 8, config=LLAMA_8B, ram_gib=1000.0, **other)


def plan_of(machine: Facts, text: str = "adapter: {kind: full}") -> Plan:
    return plan_train(spec(text), machine, inputs())


def test_the_measured_save_of_the_bench() -> None:
    """bench/saves: 18.9 GiB at about half a GiB a second took 35 to 38 s; the second of two saves 20 s apart waited 18 s."""
    found = saves_of(round(18.9 * GIB / 12), LOAD, facts(H100, disk_write_gib=0.52))
    assert 35 < found.write_seconds < 38
    assert found.apart > 1.4 * found.write_seconds > 20 + 18


@pytest.mark.parametrize("trained", [1_000_000, 1_700_000_000, 70_000_000_000])
@pytest.mark.parametrize("speed", [None, 0.05, 0.5, 20.0])
@pytest.mark.parametrize("ranks", [1, 8])
def test_copies_cost_less_than_a_hundredth_and_no_save_waits(trained: int, speed: float | None, ranks: int) -> None:
    found = saves_of(trained, replace(LOAD, ranks=ranks), facts(disk_write_gib=speed))
    assert found.copy_seconds <= COST * (found.apart + 0.05)
    assert found.write_seconds * APART <= found.apart + 0.05
    assert found.stop_seconds >= STEP_SECONDS + 2 * found.write_seconds + END_SECONDS


def test_a_disk_that_is_not_known_is_taken_for_a_slow_one() -> None:
    found = saves_of(10**9, LOAD, facts())
    assert (found.speed, found.measured) == (DEFAULTS["disk_write_gib"]["value"], False)
    assert "assumed until it is measured" in found.words and DEFAULTS["disk_write_gib"]["source"]
    known = saves_of(10**9, LOAD, facts(disk_write_gib=2.0))
    assert (known.speed, known.measured) == (2.0, True)
    assert known.apart < found.apart and known.stop_seconds < found.stop_seconds


def test_a_stop_that_takes_longer_than_compose_waits_names_the_line_to_set() -> None:
    plan = plan_of(eight_cards(disk_write_gib=0.5))
    (step,) = plan.steps
    value, reason = why(plan, "train stop")
    assert value == f"{step.stop_seconds} s" == "450 s"
    assert reason.endswith(f"Compose waits {COMPOSE_GRACE} s: put TRAIN_GRACE=450s into .env")
    assert "--grace=420" in step.argv, "ranks would be killed in the middle of the save"


def test_a_short_one_gets_what_compose_waits_anyway() -> None:
    plan = plan_of(eight_cards(disk_write_gib=0.5), "adapter: {kind: lora}")
    (step,) = plan.steps
    value, reason = why(plan, "train stop")
    assert int(value.removesuffix(" s")) < COMPOSE_GRACE == step.stop_seconds
    assert "TRAIN_GRACE" not in reason
    assert f"--grace={COMPOSE_GRACE - 30}" in step.argv


def test_nothing_is_said_of_a_model_that_is_not_known() -> None:
    plan = plan_of(facts(H100, config=None))
    assert [d for d in plan.decisions if d.field == "train stop"] == []
    assert plan.steps[0].stop_seconds == COMPOSE_GRACE


@pytest.mark.parametrize(("text", "apart"), [("", True), ("train: {checkpoint: {every: 3}}", False), ("train: {checkpoint: {every_minutes: 3}}", True)])
def test_only_an_automatic_interval_is_stretched(text: str, apart: bool) -> None:
    job = plan_of(facts(), text).steps[0].job
    assert isinstance(job, TrainJob)
    assert (job.checkpoint_apart is not None) is apart


def test_a_disk_that_is_measured_trains_nothing_anew() -> None:
    first, second = (plan_of(facts(disk_write_gib=speed)).steps[0] for speed in (None, 3.0))
    assert first.identity == second.identity != ""
