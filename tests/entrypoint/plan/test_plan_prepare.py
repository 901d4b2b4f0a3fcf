"""Which rows, how long, and from where."""

import pytest
from known import TINY, facts, inputs, spec, why

from entrypoint.plan import plan_prepare
from entrypoint.plan.prepare import FALLBACK_LENGTH
from schemas.errors import UsageError
from schemas.job import PrepareJob, RowsJob


def job_of(text: str = "", **machine: object) -> PrepareJob:
    job = plan_prepare(spec(text), facts(**machine), inputs()).steps[0].job  # type: ignore[arg-type]
    assert isinstance(job, PrepareJob)
    return job


def test_step() -> None:
    (step,) = plan_prepare(spec(), facts(), inputs()).steps
    assert step.argv == ("python", "-m", "entrypoint.run.prepare", "{task}")
    assert step.inputs == {"model": "n/model/x", "data": "n/data/x"}
    assert set(step.input_contents) == {"model", "data"}


def test_share() -> None:
    job = job_of("data: {train: [{source: /a}], validation: 10%}")
    assert (job.validation, job.validation_share) == ((), 0.1)


def test_share_default_is_five_percent() -> None:
    assert job_of().validation_share == 0.05


def test_list_for_validation() -> None:
    job = job_of("data: {train: [{source: /a}, {source: /b, format: messages}], validation: [{source: /c}, {source: /a}]}")
    assert job.train == (RowsJob(path="00", source="/a", format="auto"), RowsJob(path="01", source="/b", format="messages"))
    assert job.validation == (RowsJob(path="02", source="/c", format="auto"), RowsJob(path="00", source="/a", format="auto"))
    assert job.validation_share == 0.0


def test_fields_are_handed_on() -> None:
    job = job_of("data: {train: [{source: /a}], too_long: drop, max_rejected: 7%, max_length: 99}\nmethod: {kind: sft, loss_on: all}\ntrain: {seed: 5}")
    assert (job.too_long, job.max_rejected, job.max_length, job.loss_on, job.seed) == ("drop", 0.07, 99, "all", 5)


@pytest.mark.parametrize(
    ("text", "config", "length", "reason"),
    [
        ("", TINY, 512, "the model's positions"),
        ("", None, FALLBACK_LENGTH, "assumed until the model's config is fetched"),
        ("", {**TINY, "max_position_embeddings": 0}, FALLBACK_LENGTH, "assumed"),
        ("data: {train: [{source: /a}], max_length: 100}", TINY, 100, "set in the spec"),
        ("data: {train: [{source: /a}], max_length: 512}", TINY, 512, "set in the spec"),
        ("data: {train: [{source: /a}], max_length: 9999}", None, 9999, "set in the spec"),
    ],
)
def test_length(text: str, config: dict[str, object] | None, length: int, reason: str) -> None:
    plan = plan_prepare(spec(text), facts(config=config), inputs())
    value, said = why(plan, "data.max_length")
    assert value == str(length)
    assert reason in said
    assert isinstance(plan.steps[0].job, PrepareJob)
    assert plan.steps[0].job.max_length == length


def test_longer_than_the_positions_is_refused_before_anything_runs() -> None:
    with pytest.raises(UsageError) as caught:
        plan_prepare(spec("data: {train: [{source: /a}], max_length: 513}"), facts(), inputs())
    assert str(caught.value) == "data.max_length: 513 tokens, but the model has 512 positions\n    write max_length: 512 or less"


def test_mixtures_are_handed_on() -> None:
    text = "data: {train: [{source: /a, weight: 2.5, max_rows: 7, columns: {prompt: frage}}], validation: [{source: /a, max_rows: 3}], deduplicate: true}"
    job = job_of(text)
    assert job.train == (RowsJob(path="00", source="/a", format="auto", columns={"prompt": "frage"}, weight=2.5, max_rows=7),)
    assert job.validation == (RowsJob(path="00", source="/a", format="auto", max_rows=3),)
    assert job.deduplicate


@pytest.mark.parametrize(("template", "expected"), [("auto", "auto"), ("zephyr", "zephyr"), ("/data/mine.jinja", "given")])
def test_template(template: str, expected: str) -> None:
    plan = plan_prepare(spec(f"data: {{train: [{{source: /a}}], template: {template}}}"), facts(), inputs())
    job = plan.steps[0].job
    assert isinstance(job, PrepareJob)
    assert job.template == expected
    assert [d.value for d in plan.decisions if d.field == "data.template"] == ([] if template == "auto" else [template])


def test_a_template_changes_what_is_made() -> None:
    def request(text: str) -> str:
        return plan_prepare(spec(f"data: {{train: [{{source: /a}}]{text}}}"), facts(), inputs()).steps[0].request

    assert len({request(text) for text in ("", ", template: zephyr", ", template: /a.jinja", ", template: /b.jinja", ", deduplicate: true")}) == 5


def test_split_is_refused_where_one_turn_is_learned() -> None:
    with pytest.raises(UsageError, match="loss_on: last learns one turn"):
        job_of("data: {train: [{source: /a}], too_long: split}\nmethod: {kind: sft, loss_on: last}")
    assert job_of("data: {train: [{source: /a}], too_long: split}").too_long == "split"
