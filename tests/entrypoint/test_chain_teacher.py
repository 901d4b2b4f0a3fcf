"""A chain with a model to learn from: fetched, or asked behind an endpoint."""

import json
import shutil

import pytest
from small_run import CONFIG, SmallRun

from entrypoint.chain import foresee
from entrypoint.status import states
from schemas.errors import UsageError


@pytest.fixture
def taught(run: SmallRun) -> SmallRun:
    """With a larger model to learn from."""
    shutil.copytree(run.model, run.folder / "large")
    (run.folder / "large" / "config.json").write_text(json.dumps({**CONFIG, "num_hidden_layers": 7}))
    text = run.spec_file.read_text().replace("{kind: sft}", f"{{kind: distil, teacher: {run.folder / 'large'}}}")
    run.spec_file.write_text(text)
    return run


def test_a_teacher_is_fetched_before_training_and_known_to_its_plan(taught: SmallRun) -> None:
    steps = taught.chain().plan("fetch").steps
    assert [s.folder for s in steps] == ["models", "data", "models"] and steps[0].identity != steps[2].identity
    assert taught.facts().models[str(taught.folder / "large")].config["num_hidden_layers"] == 7
    taught.seal("fetch", "prepare")
    (step,) = taught.chain().plan("train").steps
    assert set(step.inputs) == {"model", "prepared", "teacher"}
    assert taught.chain().inputs.teacher is not None
    assert [(s.part, s.state) for s in states(taught.chain(), taught.store)[:3]] == [("model", "sealed"), ("data", "sealed"), ("teacher", "sealed")]


def test_without_its_teacher_fetch_has_not_finished(taught: SmallRun) -> None:
    taught.seal("fetch", "prepare")
    teacher = taught.chain().plan("fetch").steps[2]
    shutil.rmtree(taught.store.final(teacher))
    with pytest.raises(UsageError, match=r"^train: fetch has not finished"):
        taught.chain().plan("train")


def test_another_teacher_trains_anew(taught: SmallRun) -> None:
    taught.seal("fetch", "prepare")
    before = taught.chain().plan("train").steps[0].identity
    (taught.folder / "large" / "config.json").write_text(json.dumps({**CONFIG, "num_hidden_layers": 8}))
    for step in taught.chain().plan("fetch").steps:
        if not taught.store.find(step):
            taught._seal(step, "another", "")
    assert taught.chain().plan("train").steps[0].identity != before


# -- a teacher behind an endpoint


@pytest.fixture
def asked(run: SmallRun) -> SmallRun:
    """The same with a teacher that a server has."""
    text = run.spec_file.read_text().replace("{kind: sft}", "{kind: distil, endpoint: 'http://host/v1', teacher_name: large}")
    run.spec_file.write_text(text)
    return run


def test_prepare_has_two_steps_and_is_done_after_both(asked: SmallRun) -> None:
    asked.seal("fetch")
    steps = asked.chain().plan("prepare").steps
    assert [(s.stage, bool(s.identity)) for s in steps] == [("prepare", True), ("answers", False)]
    asked._seal(steps[0], "x", "")
    steps = asked.chain().plan("prepare").steps
    assert all(s.identity for s in steps)
    with pytest.raises(UsageError, match=r"^train: prepare has not finished"):
        asked.chain().plan("train")
    assert [(s.stage, s.part, s.state) for s in states(asked.chain(), asked.store)[2:4]] == [("prepare", "", "sealed"), ("prepare", "answers", "absent")]
    asked._seal(steps[1], "x", "")
    (step,) = asked.chain().plan("train").steps
    assert set(step.inputs) == {"model", "prepared", "answers"}
    assert asked.chain().folder("answers") == step.inputs["answers"]


def test_prepare_without_a_network_is_refused_before_it_begins(asked: SmallRun) -> None:
    asked.seal("fetch")
    alone = asked.facts().model_copy(update={"network": False})
    assert [(stage, error.exit_code) for stage, error in foresee(asked.chain(facts=alone), asked.store).refusals] == [("prepare", 3)]
    for step in (0, 1):
        asked._seal(asked.chain().plan("prepare").steps[step], "x", "")
    assert foresee(asked.chain(facts=alone), asked.store).refusals == ()
