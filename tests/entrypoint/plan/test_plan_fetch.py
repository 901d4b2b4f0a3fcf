"""Two steps, one for the model and one for all rows; local files count by size and time."""

import pytest
from known import facts, spec

from entrypoint.plan import plan_fetch
from entrypoint.plan.fetch import places_of, refuse_absent, row_sources
from schemas.errors import MachineError, UsageError
from schemas.facts import SourceFacts
from schemas.job import FetchJob

FOUND = {
    "/models/m": SourceFacts(kind="folder", files=(("config.json", 10, 5), ("model.safetensors", 1000, 5))),
    "/data/a.jsonl": SourceFacts(kind="file", files=(("a.jsonl", 7, 5),)),
}


def test_two_steps() -> None:
    model, data = plan_fetch(spec(), facts(sources=FOUND)).steps
    assert (model.stage, model.folder, model.argv) == ("fetch", "models", ("python", "-m", "entrypoint.run.fetch", "{task}"))
    assert model.job == FetchJob(role="model", sources=("/models/m",))
    assert data.job == FetchJob(role="data", sources=("/data/a.jsonl",))
    assert (model.disk_bytes, data.disk_bytes) == (1010, 7)
    assert model.inputs == data.inputs == {}
    assert model.environment == {}


def test_sources_in_order_each_once() -> None:
    given = spec("data:\n  train: [{source: /b}, {source: /a}, {source: /b}]\n  validation: [{source: /c}, {source: /a}]")
    assert row_sources(given) == ("/b", "/a", "/c")


def test_share_of_validation_is_no_source() -> None:
    assert row_sources(spec("data: {train: [{source: /b}], validation: 10%}")) == ("/b",)


@pytest.mark.parametrize(
    "files",
    [(("a.jsonl", 8, 5),), (("a.jsonl", 7, 6),), (("b.jsonl", 7, 5),), (("a.jsonl", 7, 5), ("b.jsonl", 1, 5))],
    ids=["size", "time", "name", "one more"],
)
def test_a_changed_file_is_another_artifact(files: tuple[tuple[str, int, int], ...]) -> None:
    before = plan_fetch(spec(), facts(sources=FOUND)).steps
    after = plan_fetch(spec(), facts(sources={**FOUND, "/data/a.jsonl": SourceFacts(kind="file", files=files)})).steps
    assert before[0].identity == after[0].identity
    assert before[1].identity != after[1].identity
    assert before[1].request == after[1].request, "the spec asks for the same"


def test_missing_source_is_planned_without_a_guess() -> None:
    model, _ = plan_fetch(spec(), facts(sources={"/models/m": SourceFacts(kind="missing")})).steps
    assert model.disk_bytes == 0
    assert model.identity


def test_remote_code_is_another_artifact() -> None:
    without, with_code = (plan_fetch(spec(f"model: {{source: hf://a/b@v1, trust_remote_code: {word}}}"), facts()).steps[0] for word in ("false", "true"))
    assert without.identity != with_code.identity
    assert without.request != with_code.request
    assert isinstance(with_code.job, FetchJob)
    assert with_code.job.trust_remote_code


@pytest.mark.parametrize(("source", "said"), [("hf://a/b", True), ("ms://a/b", True), ("hf://a/b@main", False), ("/models/m", False), ("/models/m@2", False)])
def test_open_revision_is_said(source: str, said: bool) -> None:
    decisions = plan_fetch(spec(f"model: {{source: {source}}}"), facts()).decisions
    assert [(d.field, d.value) for d in decisions] == ([("model.source", source)] if said else [])


def test_open_revision_of_rows_is_said() -> None:
    (decision,) = plan_fetch(spec("data: {train: [{source: hf://a/rows}]}"), facts()).decisions
    assert decision.field == "data: hf://a/rows"
    assert "commit" in decision.why


def test_a_source_that_is_not_there_is_refused_before_anything_is_written() -> None:
    here = facts().model_copy(update={"sources": {"/data/a.jsonl": SourceFacts(kind="missing")}})
    steps = plan_fetch(spec(), here).steps
    with pytest.raises(UsageError, match=r"data: /data/a\.jsonl is not there"):
        refuse_absent(steps, here)
    refuse_absent(steps[:1], here)


def test_missing_questions_of_a_benchmark_are_refused_with_what_brings_them() -> None:
    here = facts().model_copy(update={"sources": {"/data/benchmarks/gsm8k": SourceFacts(kind="missing")}})
    with pytest.raises(MachineError, match=r"the questions of gsm8k are not at /data/benchmarks/gsm8k") as refused:
        refuse_absent(plan_fetch(spec("evaluate: {suites: [gsm8k]}"), here).steps, here)
    assert "source: hf://openai/gsm8k/main} and run `docker compose run --rm fetch`" in (refused.value.fix or "")


def test_a_source_that_cannot_be_read_is_refused_before_anything_is_written() -> None:
    here = facts().model_copy(update={"sources": {"/models/m": SourceFacts(kind="unreadable", fault="/models/m/x cannot be read: Permission denied")}})
    with pytest.raises(MachineError, match=r"model\.source: /models/m: /models/m/x cannot be read: Permission denied"):
        refuse_absent(plan_fetch(spec(), here).steps, here)


def test_a_template_comes_with_the_rows() -> None:
    text = "data: {train: [{source: /data/a.jsonl}], template: /data/t.jinja}"
    job = plan_fetch(spec(text), facts()).steps[1].job
    assert isinstance(job, FetchJob)
    assert (job.template, places_of(job)) == ("/data/t.jinja", ("/data/a.jsonl", "/data/t.jinja"))
    here = facts().model_copy(update={"sources": {"/data/t.jinja": SourceFacts(kind="missing")}})
    with pytest.raises(UsageError, match=r"data\.template: /data/t\.jinja is not there"):
        refuse_absent(plan_fetch(spec(text), here).steps, here)


def test_a_changed_template_is_fetched_anew() -> None:
    text = "data: {train: [{source: /data/a.jsonl}], template: /data/t.jinja}"

    def identity(size: int) -> str:
        found = SourceFacts(kind="file", files=(("/data/t.jinja", size, 1),))
        return plan_fetch(spec(text), facts().model_copy(update={"sources": {"/data/t.jinja": found}})).steps[1].identity

    assert identity(10) != identity(11)
