"""Where a training goes on from, and what is said of it."""

import pytest
from known import H100, facts, inputs, spec

from entrypoint.plan import plan_train
from entrypoint.plan.resume import resume_decision
from schemas.facts import Facts
from schemas.manifest import Manifest
from schemas.plan import Step


def step(text: str = "", *accelerators: object, **other: object) -> Step:
    return plan_train(spec(text), facts(*accelerators, **other), inputs()).steps[0]  # type: ignore[arg-type]


def made_by(made: Step, program: str = "1") -> Manifest:
    return Manifest(
        stage="checkpoint", name="n", identity="", request="", job=made.job.model_dump(mode="json"), image_lock=made.image_lock, program=program, files=()
    )


@pytest.mark.parametrize(
    ("then", "now", "program", "said"),
    [
        (step(), step(), "1", "exact: bit for bit as if it had not stopped there, on this kind of processor"),
        (step("", H100), step("", H100), "1", "position, state and random numbers are exact; without train.deterministic the last bits of a sum may differ"),
        (step("train: {deterministic: true}\n", H100), step("train: {deterministic: true}\n", H100), "1", "exact: bit for bit as if it had not stopped there, on this kind of processor"),
        (step("hardware: {strategy: ddp}\n"), step(), "1", "strategy: ddp then, single now; ranks: 2 then, 1 now; "),
        (step(), step(), "0", "Caisson 0 then, 1 now: not bit for bit"),
        (step(), step().model_copy(update={"image_lock": "x"}), "1", "other packages: not bit for bit"),
    ],
)  # fmt: skip
def test_what_is_said(then: Step, now: Step, program: str, said: str) -> None:
    found = resume_decision(now, "1", 40, made_by(then, program))
    assert (found.field, found.value) == ("resume", "after step 40")
    assert said in found.why
    assert ("no row is lost and none is seen twice" in found.why) is ("not bit for bit" in found.why)


SAME = ["", "train: {checkpoint: {every: 3}}\n", "train: {watchdog: {times: 9}}\n", "train: {max_bad_steps: 2}\n", "hardware: {strategy: ddp}\n", "hardware: {strategy: zero3}\n", "train: {gradient_checkpointing: true}\n"]  # fmt: skip
OTHER = ["train: {epochs: 2}\n", "train: {seed: 3}\n", "train: {batch_tokens: 4096}\n", "train: {learning_rate: 1.0e-5}\n", "adapter: {kind: lora, rank: 4}\n"]


def test_how_a_run_is_spread_and_saved_keeps_its_working_folder() -> None:
    assert {step(text).work for text in SAME} == {step().work}
    assert {step("", H100).work, step("", H100, H100).work} == {step().work}


def test_what_is_learned_makes_another() -> None:
    found = {step(text).work for text in OTHER}
    assert len(found) == len(OTHER)
    assert step().work not in found


def test_another_interval_is_not_another_artifact() -> None:
    assert step("train: {checkpoint: {every: 3, keep: 1}, watchdog: {times: 9}, max_bad_steps: 2}\n").identity == step().identity
    assert step("hardware: {strategy: ddp}\n").identity != step().identity


def test_without_its_inputs_there_is_none() -> None:
    from entrypoint.plan import Inputs

    assert plan_train(spec(), facts(), Inputs()).steps[0].work_id == ""
    assert isinstance(facts(), Facts)
