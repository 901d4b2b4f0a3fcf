"""The second step of prepare, which asks a teacher behind an endpoint: what it is told, what decides its identity, and what it wants."""

import pytest
from known import H100, TINY, facts, inputs, job_of, plan_of, refusal, sealed, spec, why

from entrypoint.plan import Inputs, plan_fetch, plan_prepare
from entrypoint.plan.answers import check_way_out
from schemas.answers_job import Answered, AnswersJob, Reach
from schemas.errors import MachineError, UsageError
from schemas.plan import Plan, Step

ASKED = 'method: {kind: distil, endpoint: "http://host:8000/v1", teacher_name: org/large}'


def planned(text: str, given: Inputs | None = None) -> Plan:
    return plan_prepare(spec(text), facts(), given or inputs())


def step_of(text: str, given: Inputs | None = None) -> Step:
    return planned(text, given).steps[1]


def test_what_the_step_is_told() -> None:
    step = step_of(ASKED)
    assert step.job == AnswersJob(
        teacher="org/large", top_k=20, reach=Reach(url="http://host:8000/v1", key_file="/run/secrets/teacher_key", requests=16)
    )  # fmt: skip
    assert (step.stage, step.argv, step.folder) == ("answers", ("python", "-m", "entrypoint.run.answers", "{task}"), "n/answers")
    other = step_of(f"{ASKED[:-1]}, top_k: 5, key_file: /run/secrets/other, requests: 3}}").job
    assert other == AnswersJob(teacher="org/large", top_k=5, reach=Reach(url="http://host:8000/v1", key_file="/run/secrets/other", requests=3))


def test_it_waits_for_the_rows_and_knows_their_size() -> None:
    assert not step_of(ASKED, Inputs(model=sealed("models/m"), data=sealed("data/d"))).identity
    step = step_of(ASKED)
    assert set(step.inputs) == {"model", "prepared"} and step.identity
    counted = {"train": {"supervised": 70}, "validation": {"supervised": 30}}
    assert step_of(ASKED, inputs(prepared=sealed("n/prepared/x", "prepare", counted))).disk_bytes == 8 * 20 * 100


def test_the_address_and_the_key_are_in_no_identity() -> None:
    moved = ASKED.replace("host:8000", "other").replace("}", ", key_file: /run/secrets/other, requests: 2}")
    for change, same in ((moved, True), (ASKED.replace("large", "larger"), False), (ASKED.replace("}", ", top_k: 19}"), False)):
        assert (step_of(change).identity == step_of(ASKED).identity) == same
        assert (step_of(change).request == step_of(ASKED).request) == same
    told = [plan_of(facts(), text, inputs(answers=sealed("n/answers/0"))).steps[0] for text in (ASKED, moved)]
    assert told[0].identity == told[1].identity and told[0].request == told[1].request and told[0].work == told[1].work


def test_training_reads_the_answers_and_knows_no_address() -> None:
    plan = plan_of(facts(), ASKED)
    assert not plan.steps[0].identity, "nothing has been asked yet"
    ready = plan_of(facts(), ASKED, inputs(answers=sealed("n/answers/0"))).steps[0]
    assert ready.identity and ready.inputs["answers"] == "n/answers/0"
    assert job_of(facts(), ASKED).method == Answered(kind="answered", loss_on="assistant")
    assert "host" not in ready.model_dump_json()
    assert why(plan, "method")[0].startswith("distil, endpoint http://host:8000/v1, teacher name org/large, beta 0, ")
    other = plan_of(facts(), ASKED, inputs(answers=sealed("n/answers/1", digest="1" * 64))).steps[0]
    assert other.identity != ready.identity, "other answers train anew"


def test_nothing_is_fetched_and_one_copy_of_logits_is_held() -> None:
    assert len(plan_fetch(spec(ASKED), facts()).steps) == 2
    by_path = "method: {kind: distil, teacher: /models/large}"
    one, two = (float(why(plan_of(facts(H100, config=TINY), text), "memory")[1].split("logits ")[1].split(",")[0]) for text in (ASKED, by_path))
    assert one < two


def test_the_plan_says_what_is_needed() -> None:
    decisions = {d.field: d for d in planned(ASKED).decisions}
    assert decisions["teacher"].value == "org/large at http://host:8000/v1" and "-f compose/teacher.yaml run --rm prepare" in decisions["teacher"].why
    assert decisions["method.top_k"].value == "20" and decisions["method.top_k"].source
    assert {d.field: d for d in planned(ASKED.replace("}", ", top_k: 7}")).decisions}["method.top_k"].why == "set in the spec"


def test_without_a_network_it_is_refused_until_it_has_been_asked() -> None:
    alone = facts(network=False)
    with pytest.raises(MachineError, match=r"which has no network here\n    run `docker compose -f compose.yaml -f compose/teacher.yaml run --rm prepare`"):
        check_way_out(spec(ASKED), alone, inputs())
    check_way_out(spec(ASKED), alone, inputs(answers=sealed("n/answers/0")))
    check_way_out(spec(ASKED), facts(), inputs())
    check_way_out(spec(), alone, inputs())


def test_rows_that_are_streamed_are_not_asked_about() -> None:
    data = "data: {train: [{source: /d}], validation: 0%, streaming: true, max_length: 100, packing: false}\ntrain: {max_steps: 5}"
    assert "asked about rows that are prepared" in refusal(facts(), f"{ASKED}\n{data}", kind=UsageError)


def test_engines_that_share_out_no_teacher_have_none_to_share() -> None:
    assert plan_of(facts(H100, H100), f"{ASKED}\nhardware: {{strategy: fsdp}}")
