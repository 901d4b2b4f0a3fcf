"""What streamed rows want of a spec, and what the plan makes of them."""

from pathlib import Path

import pytest
import yaml

from entrypoint.plan import Inputs, plan_prepare, plan_train
from entrypoint.plan.train import roles_of
from schemas.errors import UsageError
from schemas.facts import Facts
from schemas.job import PrepareJob, TrainJob
from schemas.load import load
from schemas.manifest import Manifest, Sealed

ROOT = Path(__file__).parents[3]
FACTS = Facts.model_validate_json((ROOT / "tests" / "facts" / "cpu2.json").read_text(encoding="utf-8"))
SPEC = yaml.safe_load((ROOT / "specs" / "data" / "streaming.yaml").read_text(encoding="utf-8"))


def changed(**sections):
    """The example with values of some sections changed; None takes a key out."""
    whole = {**SPEC, **{name: {k: v for k, v in {**SPEC.get(name, {}), **values}.items() if v is not None} for name, values in sections.items()}}
    return load(yaml.safe_dump(whole))


@pytest.mark.parametrize(
    ("sections", "said", "fix"),
    [
        ({"train": {"max_steps": None}}, "nobody has counted the rows", "write train.max_steps"),
        ({"data": {"max_length": None}}, "before the longest row is known", "write data.max_length"),
        ({"data": {"validation": "5%"}}, "cannot be held back", "write validation: 0%"),
        ({"data": {"validation": None}}, "cannot be held back", "write validation: 0%"),
        ({"method": {"kind": "dpo"}, "data": {"too_long": "drop"}}, "dpo learns from rows of another kind", "take data.streaming out"),
        ({"train": {"group_by_length": True}}, "train.group_by_length needs the lengths", "take one"),
        ({"hardware": {"nodes": 2, "rendezvous": "a:29400"}}, "one machine prepares rows", "on one machine"),
    ],
)
def test_refused_before_anything_runs(sections, said, fix):
    for plan in (plan_prepare, plan_train):
        with pytest.raises(UsageError) as refused:
            plan(changed(**sections), FACTS, Inputs())
        assert said in refused.value.what and fix in refused.value.fix


def test_prepare_does_the_first_part_and_train_the_rest():
    spec = changed(data={"part_tokens": 5000})
    head = plan_prepare(spec, FACTS, Inputs()).steps[0].job
    step = plan_train(spec, FACTS, Inputs()).steps[0]
    assert isinstance(head, PrepareJob) and isinstance(step.job, TrainJob)
    assert (head.streaming, head.part_tokens, step.job.stream.streaming) == ("head", 5000, "rest")
    assert step.job.stream.model_copy(update={"streaming": "head"}) == head
    assert set(roles_of(spec)) == {"model", "prepared", "data"}, "the rows decide the weights, so they are in the identity"
    plain = changed(data={"streaming": None})
    assert set(roles_of(plain)) == {"model", "prepared"} and plan_train(plain, FACTS, Inputs()).steps[0].job.stream is None


def test_counts_of_the_first_part_are_not_taken_for_all():
    summary = {"train": {"rows": 40, "tokens": 4000, "longest": 300, "sizes": [[100, 40]]}, "validation": {"rows": 5}, "streaming": True}
    manifest = Manifest(stage="prepare", name="s", identity="i", request="r", job={}, program="p", files=(), summary=summary)
    spec = changed(data={"packing": False}, train={"batch_tokens": 20_000})
    plan = plan_train(spec, FACTS, Inputs(prepared=Sealed("s/prepared/i", manifest)))
    job = plan.steps[0].job
    assert isinstance(job, TrainJob)
    assert job.micro_batch * job.accumulation == 200, "20,000 tokens in rows of 100, though 40 rows were counted"
    assert job.checkpoint_every == 1000, "20 in the 20,000 steps of the spec"
    said = {decision.field: decision for decision in plan.decisions}
    assert "mean of the first rows: 100 tokens" in said["train.batch_tokens"].why
