"""A plan as a lock: what it holds, what may differ, and how a difference reads."""

import json

import pytest
from small_run import ROOT, SmallRun

from entrypoint.plan.lock import check_lock, differences, lock_of
from schemas.errors import GateRefused, UsageError
from schemas.facts import Facts
from schemas.lock import PlanLock, read_lock, write_lock

H100 = Facts.model_validate_json((ROOT / "tests/facts/h100x1.json").read_text())
T4 = Facts.model_validate_json((ROOT / "tests/facts/t4.json").read_text())


def locked(run: SmallRun, facts: Facts | None = None) -> PlanLock:
    chain = run.chain(facts=facts)
    return lock_of(chain.merged(), chain.facts)


def found(run: SmallRun, lock: PlanLock, facts: Facts | None = None) -> list[str]:
    chain = run.chain(facts=facts)
    return differences(lock, chain.merged(), chain.facts)


def test_the_same_spec_and_machine_pass(run: SmallRun) -> None:
    assert found(run, locked(run)) == []


def test_free_disk_and_its_measured_speed_are_no_drift(run: SmallRun) -> None:
    run.seal("fetch", "prepare")
    lock, facts = locked(run), run.facts()
    assert facts.disk_write_gib is None
    slower = facts.model_copy(update={"disk_free_gib": 1.0, "disk_write_gib": 0.001})
    before, after = (run.chain(facts=known).plan("train").steps[0].job.checkpoint_apart for known in (facts, slower))
    assert before != after, "the plan did take note"
    assert found(run, lock, slower) == []


def test_a_comment_in_the_spec_is_no_drift(run: SmallRun) -> None:
    lock = locked(run)
    run.write("# a remark\n")
    assert found(run, lock) == []


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("train: {learning_rate: 5.0e-5}", "train.learning_rate: 0.0002 in the lock, 5e-05 now"),
        ("train: {seed: 18}", "train.seed: 17 in the lock, 18 now"),
        ("adapter: {kind: lora, rank: 64}", "train.adapter.rank: 16 in the lock, 64 now"),
        ("train: {max_steps: 7}", "train.max_steps: not set in the lock, 7 now"),
        ("train: {deterministic: false}", "train.deterministic: true in the lock, false now"),
        ("export: [{kind: adapter}]", "export: safetensors in the lock, adapter now"),
    ],
)
def test_a_changed_spec(run: SmallRun, section: str, said: str) -> None:
    lock = locked(run)
    run.write(section + "\n")
    assert said in found(run, lock)


def test_another_machine(run: SmallRun) -> None:
    lock = locked(run, H100)
    lines = found(run, lock, T4)
    assert "machine.accelerators: 1 x NVIDIA H100 80GB HBM3, 80 GiB, 9.0 in the lock, 1 x Tesla T4, 15 GiB, 7.5 now" in lines
    assert "train.precision: bf16 in the lock, fp16 now" in lines
    assert "machine.device: cuda in the lock, cpu now" in found(run, lock)


def test_other_packages_and_another_program(run: SmallRun) -> None:
    lock = locked(run)
    steps = tuple(step.model_copy(update={"image_lock": "f" * 64}) if step.stage == "train" else step for step in lock.steps)
    other = lock.model_copy(update={"steps": steps, "program": "0.0.9"})
    lines = found(run, other)
    assert lines[0].startswith("program: 0.0.9 in the lock, 0.")
    assert lines[1].startswith("train image's packages: ffffffffffff in the lock, ")
    assert len(lines) == 2


def test_other_rows_under_the_same_name(run: SmallRun) -> None:
    run.seal("fetch")
    lock = locked(run)
    run.rows.write_text(run.rows.read_text() * 2)
    run.seal("fetch", content="other")
    assert [line for line in found(run, lock) if line.startswith("prepare input data: ")]


def test_what_waits_for_an_artifact_is_open_and_only_that(run: SmallRun) -> None:
    """Rows are counted by prepare: batch and interval come out otherwise than assumed, and that is no drift. The rate is."""
    lock = locked(run)
    (train,) = (step for step in lock.steps if step.stage == "train")
    assert {"micro_batch", "accumulation", "checkpoint_every"} <= set(train.open)
    assert "strategy" not in train.open, "the config is at hand"
    run.seal("fetch", "prepare")
    now = run.chain().plan("train").steps[0].job
    assert now.accumulation * now.micro_batch != train.job["accumulation"] * train.job["micro_batch"]
    assert found(run, lock) == []
    counted = locked(run)
    assert all(not step.open for step in counted.steps if step.stage in ("fetch", "prepare", "train"))
    run.write("train: {batch_tokens: 4000}\n")
    assert found(run, counted) == ["train.pack_length: 128 in the lock, 1000 now"]
    assert found(run, lock) == [], "it was not counted then"


def test_a_lock_without_the_model_leaves_the_spread_open(run: SmallRun) -> None:
    blind = run.facts().model_copy(update={"models": {}})
    (train,) = (step for step in locked(run, blind).steps if step.stage == "train")
    assert {"strategy", "gradient_checkpointing", "argv"} <= set(train.open)


def test_only_stages_that_run_are_held(run: SmallRun) -> None:
    lock = locked(run)
    run.write("train: {seed: 18}\n")
    chain = run.chain()
    assert differences(lock, chain.plans["fetch"], chain.facts) == []
    assert differences(lock, chain.plans["train"], chain.facts) == ["train.seed: 17 in the lock, 18 now"]


def test_refusals_read_well(run: SmallRun) -> None:
    lock = locked(run)
    run.write("train: {epochs: 2}\n")
    chain = run.chain()
    with pytest.raises(GateRefused) as refused:
        check_lock(lock, chain.merged(), chain.facts, "plan.lock.json")
    assert refused.value.what == "the plan is not the one that plan.lock.json holds:\n    train.epochs: 1.0 in the lock, 2.0 now"
    with pytest.raises(UsageError, match="is the lock of the run other, and this spec is of n"):
        check_lock(lock.model_copy(update={"name": "other"}), chain.merged(), chain.facts, "plan.lock.json")


def test_many_differences_are_counted(run: SmallRun) -> None:
    lock = locked(run, H100)
    chain = run.chain(facts=T4)
    bare = lock.model_copy(update={"steps": tuple(step.model_copy(update={"job": {}, "open": ()}) for step in lock.steps)})
    with pytest.raises(GateRefused) as refused:
        check_lock(bare, chain.merged(), chain.facts, "plan.lock.json")
    assert len(refused.value.what.splitlines()) == 14
    assert refused.value.what.splitlines()[-1].endswith(" more")


def test_a_lock_is_read_as_it_was_written(run: SmallRun) -> None:
    lock = locked(run)
    assert read_lock(write_lock(lock), "x") == lock


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[: len(text) // 2], "x is cut or is no plan lock: it is not whole JSON"),
        (lambda text: "[]", "x is no plan lock: it has no key `lock`"),
        (lambda text: text.replace('"lock": 1', '"lock": 2', 1), "x is a plan lock of format 2, this program reads format 1"),
        (lambda text: text.replace('"seed": 17', '"seed": 18'), "x is damaged: Value error|x is damaged: its digest is not that of its content"),
        (lambda text: json.dumps({"lock": 1}), "x is damaged: name: Field required"),
        (lambda text: "[" * 200_000, "x is cut or is no plan lock"),
    ],
    ids=["cut", "foreign", "format", "edited", "empty", "deep"],
)
def test_damaged_locks(run: SmallRun, change, said: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match=said):
        read_lock(change(write_lock(locked(run))), "x")


def test_what_a_lock_says_is_printed_as_text(run: SmallRun) -> None:
    """Anybody may have written it, with a digest that fits."""
    lock = locked(run)
    step = lock.steps[0].model_copy(update={"job": {**lock.steps[0].job, "\x1b[2J": 1, "role": "\x1b[31m"}})
    said = "\n".join(found(run, lock.model_copy(update={"program": "\x1b[2J", "steps": (step, *lock.steps[1:])})))
    assert "\x1b" not in said
    assert r"program: '\x1b[2J' in the lock" in said and r"\x1b[31m" in said
