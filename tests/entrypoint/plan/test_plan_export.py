"""A step for each entry of export, the merged model first."""

from dataclasses import replace

import pytest
from known import H100, LLAMA_8B, facts, inputs, sealed, spec, why

from entrypoint.plan import Inputs, check_served, plan_export, served_step
from entrypoint.plan.export import ordered
from schemas.errors import UsageError
from schemas.export_job import ExportJob
from schemas.facts import Facts
from schemas.manifest import Manifest, Sealed
from schemas.plan import Plan

MANY = "export: [{kind: fp8}, {kind: safetensors}, {kind: adapter}, {kind: gptq, name: small}]"


def trained(adapter: str, precision: str = "bf16", base: str = "b" * 64) -> Sealed:
    """As train seals it."""
    job = {"adapter": {"kind": adapter}, "precision": precision}
    manifest = Manifest(stage="train", name="n", identity="1" * 64, request="2" * 64, job=job, program="0.1.0", files=(), inputs={"model": base})
    return Sealed("n/trained/x", manifest)


def plan_of(text: str = "", machine: Facts | None = None, **other: Sealed) -> Plan:
    return plan_export(spec(text), machine or facts(), inputs(**other))


def jobs_of(plan: Plan) -> list[ExportJob]:
    jobs = [step.job for step in plan.steps]
    assert all(isinstance(job, ExportJob) for job in jobs)
    return [job for job in jobs if isinstance(job, ExportJob)]


def test_step() -> None:
    plan = plan_of()
    (step,) = plan.steps
    assert step.argv == ("python", "-m", "entrypoint.run.export", "{task}")
    assert step.job == ExportJob(kind="safetensors", dtype="bf16", golden_tokens=24)
    assert step.inputs == {"model": "n/model/x", "prepared": "n/prepared/x", "trained": "n/trained/x"}
    assert step.folder == "n/exports"
    assert why(plan, "export.0.kind")[0] == "safetensors, bf16"


def test_other_weights_are_another_export() -> None:
    one, two = (plan_of(trained=sealed("n/trained/x", digest=c * 64)).steps[0] for c in "ab")
    assert one.identity != two.identity


def test_train_settings_do_not_count_twice() -> None:
    """They count through the weights that they made."""
    one, two = (plan_of(f"train: {{epochs: {n}.0}}").steps[0] for n in (1, 2))
    assert one.identity == two.identity


def test_request_is_the_same_on_another_machine() -> None:
    assert plan_of().steps[0].request == plan_of(machine=facts(H100)).steps[0].request


def test_the_device_is_in_no_export() -> None:
    """A container without a GPU must find what one with a GPU has exported."""
    assert [step.job for step in plan_of(MANY, facts(H100)).steps] == [step.job for step in plan_of(MANY).steps]


def test_a_name_makes_no_other_artifact() -> None:
    one, two = (plan_of(f"export: [{{kind: safetensors, name: {name}}}]").steps[0] for name in ("a", "b"))
    assert one.identity == two.identity and one.request == two.request and one.title != two.title


class TestSeveral:
    """Forms of one training."""

    def test_the_merged_model_is_first_and_the_others_wait_for_it(self) -> None:
        plan = plan_of(MANY)
        assert [job.kind for job in jobs_of(plan)] == ["safetensors", "fp8", "adapter", "gptq"]
        assert [bool(step.identity) for step in plan.steps] == [True, False, False, False]

    def test_once_it_is_sealed_they_are_made_from_it(self) -> None:
        plan = plan_of(MANY, merged=sealed("n/exports/m", "export"))
        assert all(step.identity for step in plan.steps) and len({step.identity for step in plan.steps}) == 4
        assert [sorted(step.inputs) for step in plan.steps[1:]] == [["merged", "prepared"], ["merged", "model", "prepared", "trained"], ["merged", "prepared"]]
        assert [step.argv[2] for step in plan.steps] == [f"entrypoint.run.{leaf}" for leaf in ("export", "compress", "export", "compress")]

    def test_it_is_made_where_the_spec_does_not_name_it(self) -> None:
        plan = plan_of("export: [{kind: int8}]")
        assert [job.kind for job in jobs_of(plan)] == ["safetensors", "int8"]
        assert why(plan, "export") == (
            "safetensors, bf16",
            "merged into the full-precision base: no adapter cost when served; not in the spec, but what the others are made from",
        )

    def test_it_is_the_same_artifact_whether_named_or_not(self) -> None:
        assert plan_of("export: [{kind: int8}]").steps[0].identity == plan_of(MANY).steps[0].identity

    def test_nothing_is_merged_for_an_adapter_alone(self) -> None:
        plan = plan_of("export: [{kind: adapter}]")
        assert [job.kind for job in jobs_of(plan)] == ["adapter"]
        assert sorted(plan.steps[0].inputs) == ["model", "prepared", "trained"]

    def test_another_merged_model_makes_others_of_it(self) -> None:
        one, two = (plan_of(MANY, merged=sealed("n/exports/m", "export", digest=c * 64)).steps[1] for c in "ab")
        assert one.identity != two.identity


class TestServed:
    """Which of them."""

    @pytest.mark.parametrize(
        ("text", "kind"), [("", "safetensors"), (MANY, "fp8"), ("export: [{kind: adapter}, {kind: awq}]", "awq"), ("export: [{kind: adapter}]", "adapter")]
    )
    def test_the_first_model_of_the_spec(self, text: str, kind: str) -> None:
        job = served_step(spec(text), plan_of(text)).job
        assert isinstance(job, ExportJob) and job.kind == kind

    @pytest.mark.parametrize(("name", "kind"), [("small", "gptq"), ("safetensors", "safetensors")])
    def test_the_one_that_serve_names(self, name: str, kind: str) -> None:
        text = f"{MANY}\nserve: {{export: {name}}}"
        job = served_step(spec(text), plan_of(text)).job
        assert isinstance(job, ExportJob) and job.kind == kind
        assert why(plan_of(text), "serve.export") == (name, "set in the spec")

    def test_one_that_is_not_there_is_refused_before_anything_runs(self) -> None:
        with pytest.raises(UsageError, match=r"serve\.export: no entry of export is called gptq\n    write one of: fp8, safetensors, small"):
            plan_of(f"{MANY}\nserve: {{export: gptq}}")

    def test_an_adapter_alone_is_no_model(self) -> None:
        with pytest.raises(UsageError, match=r"serve\.export: adapter is an adapter alone, which is served by `serve\.adapters`"):
            plan_of(f"{MANY}\nserve: {{export: adapter}}")
        alone = sealed("n/exports/x", "export")
        alone = replace(alone, manifest=alone.manifest.model_copy(update={"job": {"kind": "adapter"}}))
        with pytest.raises(UsageError, match="serve: export wrote the adapter alone"):
            check_served(inputs(exported=alone))
        check_served(inputs())

    def test_every_entry_has_a_step(self) -> None:
        assert [entry.called for entry in ordered(spec(MANY))] == ["safetensors", "fp8", "adapter", "small"]


class TestQlora:
    """Trained over NF4 weights."""

    def test_as_trained_and_measured(self) -> None:
        (job,) = jobs_of(plan_of(trained=trained("qlora")))
        assert (job.trained_on, job.precision, job.merge_into, job.base) == ("nf4", "bf16", "measured", "b" * 64)

    @pytest.mark.parametrize("into", ["full", "nf4"])
    def test_one_can_be_forced(self, into: str) -> None:
        (job,) = jobs_of(plan_of(f"export: [{{kind: safetensors, merge_into: {into}}}]", trained=trained("qlora")))
        assert job.merge_into == into

    def test_of_the_training_and_not_of_the_spec(self) -> None:
        """`auto` became lora on the machine that trained."""
        (job,) = jobs_of(plan_of("adapter: {kind: auto}", trained=trained("lora")))
        assert (job.trained_on, job.precision, job.merge_into) == ("full", "fp32", "full")

    def test_before_the_training_the_spec_tells(self) -> None:
        plan = plan_export(spec("adapter: {kind: qlora}"), facts(), Inputs())
        assert jobs_of(plan)[0].merge_into == "measured" and plan.steps[0].identity == ""

    def test_nothing_else_has_nf4_weights(self) -> None:
        with pytest.raises(UsageError, match=r"export\.0\.merge_into: nf4, but the adapter is not trained over NF4 weights"):
            plan_of("export: [{kind: safetensors, merge_into: nf4}]", trained=trained("lora"))

    def test_twice_the_room_while_both_are_measured(self) -> None:
        machine = facts(config=LLAMA_8B)
        both, one = (plan_of(machine=machine, trained=trained(kind)).steps[0].disk_bytes for kind in ("qlora", "lora"))
        assert both == 2 * one == pytest.approx(2 * 2 * 8.03e9, rel=0.01)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("export: [{kind: adapter}]\nadapter: {kind: full}", r"export\.0\.kind: adapter, but adapter\.kind full trains the model's own weights"),
        ("export: [{kind: safetensors}, {kind: fp8}]\nmethod: {kind: reward}", r"export\.1\.kind: fp8, but a reward model has a head"),
    ],
)
def test_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        plan_of(text)
