"""Same work, same name; other work, another name; and nothing else counts."""

from typing import Any

import pytest
from known import H100, TINY, facts, inputs, sealed, spec
from pydantic import BaseModel

from entrypoint.plan import Inputs, plan_export, plan_fetch, plan_prepare, plan_serve, plan_train
from entrypoint.plan.identity import APART, digest, identity_of, request_of
from schemas.export_job import ExportJob
from schemas.job import AdapterJob, FetchJob, OptimisationJob, PrepareJob, RowsJob, TrainJob
from schemas.method import Sft
from schemas.serve_job import ServeJob
from schemas.track import TrackerJob

JOBS: dict[str, BaseModel] = {
    "fetch": FetchJob(role="model", sources=("/m",)),
    "prepare": PrepareJob(train=(RowsJob(path="00", source="/d", format="auto"),), loss_on="assistant", max_length=64, too_long="error", max_rejected=0.1, seed=1),
    "train": TrainJob(
        method=Sft(kind="sft"), adapter=AdapterJob(kind="lora", rank=4, alpha=8.0, dropout=0.0, targets="all-linear"), device="cpu", strategy="single", ranks=1,
        precision="fp32", epochs=1.0, max_steps=None, learning_rate=1e-4, optimisation=OptimisationJob(warmup=0.1), weight_decay=0.0, max_grad_norm=1.0, micro_batch=2,
        accumulation=3, gradient_checkpointing=False, checkpoint_every=5, keep=2, seed=7, track=(TrackerJob(kind="tensorboard"),),
    ),
    "export": ExportJob(kind="safetensors", dtype="bf16", golden_tokens=24),
    "serve": ServeJob(served_name="n", arguments=("--port", "8000")),
}  # fmt: skip
FIELDS = [(stage, field) for stage, job in JOBS.items() for field in type(job).model_fields if field not in {"stage", *APART}]


def other(value: Any) -> Any:
    """A value that is not this one; model_copy takes it without a check."""
    return {"changed": repr(value)}


def identity(stage: str, job: BaseModel, **changed: Any) -> str:
    given: dict[str, Any] = {"contents": {"model": "a"}, "extra": {}, "program": "1", "image_lock": "l"}
    return identity_of(stage, job, **{**given, **changed})


def test_digest_is_sha256_of_canonical_json() -> None:
    assert digest({"b": 1, "a": [1, "ä"]}) == digest({"a": [1, "ä"], "b": 1})
    assert digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert digest([1, 2]) != digest([2, 1])
    assert digest("1") != digest(1)


@pytest.mark.parametrize("stage", JOBS)
def test_same_inputs_same_identity(stage: str) -> None:
    again = type(JOBS[stage]).model_validate_json(JOBS[stage].model_dump_json())
    assert identity(stage, JOBS[stage]) == identity(stage, again)


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")
@pytest.mark.parametrize(("stage", "field"), FIELDS, ids=".".join)
def test_each_field_of_a_job_counts(stage: str, field: str) -> None:
    changed = JOBS[stage].model_copy(update={field: other(getattr(JOBS[stage], field))})
    assert identity(stage, changed) != identity(stage, JOBS[stage])


@pytest.mark.parametrize(
    "changed", [{"contents": {"model": "b"}}, {"contents": {"data": "a"}}, {"extra": {"x": 1}}, {"program": "2"}, {"image_lock": "m"}], ids=str
)
def test_what_stands_outside_the_job_counts(changed: dict[str, Any]) -> None:
    assert identity("export", JOBS["export"], **changed) != identity("export", JOBS["export"])


def test_stage_counts() -> None:
    assert identity("export", JOBS["export"]) != identity("train", JOBS["export"])


def test_request_is_of_wishes_and_inputs() -> None:
    assert request_of("train", {"a": 1, "b": 2}, {}) == request_of("train", {"b": 2, "a": 1}, {})
    different = {request_of(*a) for a in (("train", {"a": 1}, {}), ("train", {"a": 2}, {}), ("export", {"a": 1}, {}), ("train", {"a": 1}, {"model": "x"}))}
    assert len(different) == 4


def test_threads_and_folders_do_not_count() -> None:
    few, many = (plan_train(spec(), facts(cpu_cores=cores), inputs()).steps[0] for cores in (1, 16))
    assert few.environment != many.environment
    assert few.identity == many.identity
    here = plan_train(spec(), facts(), inputs(model=sealed("models/here"))).steps[0]
    there = plan_train(spec(), facts(), inputs(model=sealed("models/there"))).steps[0]
    assert here.inputs != there.inputs
    assert here.identity == there.identity


def test_free_disk_and_memory_count_only_through_decisions() -> None:
    one = plan_train(spec(), facts(ram_gib=64.0, disk_free_gib=1.0, shm_gib=0.1), inputs()).steps[0]
    two = plan_train(spec(), facts(ram_gib=65.0, disk_free_gib=900.0, shm_gib=9.0), inputs()).steps[0]
    assert one.identity == two.identity


def test_name_of_the_run_does_not_retrain() -> None:
    one, two = (plan_train(spec(f"name: {name}"), facts(), inputs()).steps[0] for name in ("a", "b"))
    assert one.identity == two.identity
    assert one.folder != two.folder


def test_a_tracker_does_not_retrain() -> None:
    one, two = (plan_train(spec(f"track: {track}"), facts(), inputs()).steps[0] for track in ("[tensorboard]", "[wandb, {kind: mlflow, uri: 'http://m:5000'}]"))
    assert one.job != two.job
    assert (one.identity, one.request) == (two.identity, two.request)


def test_request_is_the_same_on_another_machine() -> None:
    cpu, gpu = plan_train(spec(), facts(), inputs()).steps[0], plan_train(spec(), facts(H100), inputs()).steps[0]
    assert cpu.identity != gpu.identity
    assert cpu.request == gpu.request != ""


def test_request_moves_with_the_spec() -> None:
    one, two = (plan_train(spec(f"train: {{seed: {seed}}}"), facts(), inputs()).steps[0] for seed in (1, 2))
    assert one.request != two.request


def test_content_of_an_input_counts() -> None:
    one, two = (plan_train(spec(), facts(), inputs(model=sealed("models/x", digest=c * 64))).steps[0] for c in "ab")
    assert one.identity != two.identity
    assert one.request != two.request


@pytest.mark.parametrize("plan", [plan_prepare, plan_train, plan_export, plan_serve])
def test_no_identity_before_every_input_is_sealed(plan: Any) -> None:
    step = plan(spec(), facts(), Inputs()).steps[0]
    assert step.identity == step.request == step.id == ""
    whole = plan(spec(), facts(), inputs()).steps[0]
    assert len(whole.identity) == len(whole.request) == 64
    assert whole.id == whole.identity[:16]


def test_every_stage_has_its_own_folder() -> None:
    plans = [plan_fetch(spec(), facts()), *(p(spec(), facts(), inputs()) for p in (plan_prepare, plan_train, plan_export, plan_serve))]
    folders = [step.folder for plan in plans for step in plan.steps]
    assert folders == ["models", "data", "n/prepared", "n/train", "n/exports", "n/served"]


def test_known_config_of_the_model_is_in_no_hash_of_fetch() -> None:
    one, two = (plan_fetch(spec(), facts(config=config)).steps[0] for config in (TINY, None))
    assert one.identity == two.identity
