"""One folder over model, shards and trained weights."""

from known import H100, facts, inputs, sealed, spec, why

from entrypoint.plan import plan_export
from schemas.export_job import ExportJob


def test_step() -> None:
    plan = plan_export(spec(), facts(), inputs())
    (step,) = plan.steps
    assert step.argv == ("python", "-m", "entrypoint.run.export", "{task}")
    assert step.job == ExportJob(kind="safetensors", dtype="bf16", golden_tokens=24)
    assert step.inputs == {"model": "n/model/x", "prepared": "n/prepared/x", "trained": "n/trained/x"}
    assert step.folder == "n/exports"
    assert why(plan, "export.0.kind")[0] == "safetensors, bf16"


def test_other_weights_are_another_export() -> None:
    one, two = (plan_export(spec(), facts(), inputs(trained=sealed("n/trained/x", digest=c * 64))).steps[0] for c in "ab")
    assert one.identity != two.identity


def test_train_settings_do_not_count_twice() -> None:
    """They count through the weights that they made."""
    one, two = (plan_export(spec(f"train: {{epochs: {n}.0}}"), facts(), inputs()).steps[0] for n in (1, 2))
    assert one.identity == two.identity


def test_request_is_the_same_on_another_machine() -> None:
    assert plan_export(spec(), facts(), inputs()).steps[0].request == plan_export(spec(), facts(H100), inputs()).steps[0].request


def test_the_device_is_in_no_export() -> None:
    """A container without a GPU must find what one with a GPU has exported."""
    assert plan_export(spec(), facts(H100), inputs()).steps[0].job == plan_export(spec(), facts(), inputs()).steps[0].job
