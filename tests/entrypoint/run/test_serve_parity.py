"""What the gate lets through and what it refuses; the engine of tests/entrypoint/run/test_serve.py is a real one."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from answered import ANSWER, Answers, golden

from entrypoint.run.engine_client import Ending
from entrypoint.run.greedy import LARGEST_DIFFERENCE, Answer
from entrypoint.run.serve_parity import ROOM, has_template, judge, parting, read_golden
from entrypoint.run.tolerance import BF16, TOLERANCES, Tolerance, tolerance_of
from schemas.errors import GateRefused


def changed(ids: list[int] | None = None, logprobs: list[float] | None = None) -> Answer:
    return Answer(ids or ANSWER.ids, logprobs or ANSWER.logprobs, ANSWER.margins)


def test_the_same() -> None:
    engine = Answers()
    outcome = judge(engine, [golden(), golden(kind="system")], BF16, chat=True)
    assert outcome.difference is None
    assert (outcome.of, outcome.equal, outcome.ties, outcome.ends, outcome.worst, outcome.mean) == (2, 2, 0, 2, 0.0, 0.0)
    assert ("answer", [1, 11, 12, 2], 4) in engine.asked and ("ending", golden().messages, [], 4 + ROOM) in engine.asked


@pytest.mark.parametrize(("read", "at"), [([1, 11, 13, 2], 2), ([1, 11, 12], 3), ([1, 11, 12, 2, 9], 4), ([], 0), ([0, 1, 11, 12, 2], 0)])
def test_a_prompt_that_is_read_otherwise(read: list[int], at: int) -> None:
    engine = Answers(read=read)
    found = judge(engine, [golden()], BF16, chat=True).difference
    assert found and (found.part, found.at, found.trained, found.served) == ("prompt", at, [1, 11, 12, 2], read)
    assert not any(asked[0] == "answer" for asked in engine.asked), "what is answered to another prompt says nothing"


def test_a_model_without_a_template_is_asked_plain_text() -> None:
    engine = Answers()
    assert judge(engine, [golden()], BF16, chat=False).difference is None
    assert engine.asked[0] == ("text_ids", "Hello?") and not any(asked[0] in ("chat_ids", "ending") for asked in engine.asked)


@pytest.mark.parametrize(("ids", "at"), [([29, 22, 23, 2], 0), ([21, 29, 23, 2], 1), ([21, 22, 23, 29], 3), ([21], 1)])
def test_another_answer(ids: list[int], at: int) -> None:
    found = judge(Answers(said=Answer(ids, ANSWER.logprobs[: len(ids)], ANSWER.margins[: len(ids)])), [golden()], BF16, chat=True).difference
    assert found and (found.part, found.at, found.number) == ("answer", at, 1)
    assert f"led by {ANSWER.margins[at]:.2f}" in found.what


def test_a_near_tie_may_swap() -> None:
    outcome = judge(Answers(said=changed([21, 22, 29, 7])), [golden()], BF16, chat=True)
    assert (outcome.difference, outcome.equal, outcome.ties, outcome.ends) == (None, 0, 1, 0)


@pytest.mark.parametrize(("margin", "refused"), [(BF16.tie - 0.01, False), (BF16.tie, True)])
def test_how_near_a_tie_is(margin: float, refused: bool) -> None:
    one = golden(Answer(ANSWER.ids, ANSWER.logprobs, [5.0, margin, 5.0, 5.0]))
    outcome = judge(Answers(said=changed([21, 29, 23, 2])), [one], BF16, chat=True)
    assert (outcome.difference is not None) == refused


def test_margins_that_the_export_did_not_record_are_the_engine_s() -> None:
    one = golden(Answer(ANSWER.ids, ANSWER.logprobs, []))
    near = Answer([21, 29, 23, 2], ANSWER.logprobs, [5.0, 0.1, 5.0, 5.0])
    far = Answer([21, 29, 23, 2], ANSWER.logprobs, [5.0, 1.0, 5.0, 5.0])
    assert judge(Answers(said=near), [one], BF16, chat=True).difference is None
    assert judge(Answers(said=far), [one], BF16, chat=True).difference


@pytest.mark.parametrize(("moved", "refused"), [(LARGEST_DIFFERENCE - 0.11, False), (LARGEST_DIFFERENCE + 0.01, True), (math.nan, True), (-math.inf, True)])
def test_log_probabilities(moved: float, refused: bool) -> None:
    allowed = Tolerance(BF16.tie, BF16.worst, mean=1.0)
    found = judge(Answers(said=changed(logprobs=[-0.1, -0.2 - moved, -0.3, -0.05])), [golden()], allowed, chat=True).difference
    assert (found is not None) == refused
    assert not found or (found.part, found.at) == ("answer", 1)


def test_a_shift_of_all_tokens_that_none_shows() -> None:
    engine = Answers(said=changed(logprobs=[p - 0.2 for p in ANSWER.logprobs]))
    outcome = judge(engine, [golden(), golden()], BF16, chat=True)
    assert outcome.worst < BF16.worst and outcome.mean == pytest.approx(0.2)
    assert outcome.difference and "on average" in outcome.difference.what


@pytest.mark.parametrize("end", [Ending("length", 4 + ROOM), Ending("stop", 9), Ending("stop", 3)])
def test_an_end_that_is_not_honoured(end: Ending) -> None:
    found = judge(Answers(end=end), [golden()], BF16, chat=True).difference
    assert found and found.part == "end" and f"{end.tokens} tokens came, finish_reason {end.reason}" in found.what


def test_an_answer_that_does_not_end_is_not_asked_for_its_end() -> None:
    outcome = judge(Answers(end=Ending("length", 20)), [golden(ended=False)], BF16, chat=True)
    assert (outcome.difference, outcome.ends) == (None, 0)


def test_a_call_ends_an_answer_as_well() -> None:
    assert judge(Answers(end=Ending("tool_calls", 4)), [golden()], BF16, chat=True).ends == 1


@pytest.mark.parametrize(("first", "second", "at"), [([], [], 0), ([1], [1], 1), ([1, 2], [1], 1), ([1, 2], [1, 3], 1), ([2], [1], 0)])
def test_parting(first: list[int], second: list[int], at: int) -> None:
    assert parting(first, second) == parting(second, first) == at


def test_tolerances_are_wider_the_fewer_bits_are_left() -> None:
    assert tolerance_of({"kind": "safetensors"}) == BF16 == tolerance_of({"kind": "a kind that nobody entered"}) == tolerance_of({})
    for eight, four in (("fp8", "awq"), ("int8", "gptq")):
        assert BF16.tie < TOLERANCES[eight].tie < TOLERANCES[four].tie and BF16.mean < TOLERANCES[eight].mean < TOLERANCES[four].mean


def test_an_adapter_that_was_trained_on_nf4_is_served_on_another_base() -> None:
    apart = tolerance_of({"kind": "safetensors", "trained_on": "nf4"})
    assert apart.tie == 5 * BF16.tie and apart.worst == 5 * BF16.worst and apart.mean == 5 * BF16.mean
    assert tolerance_of({"kind": "awq", "trained_on": "nf4"}).worst == TOLERANCES["awq"].worst


def test_a_prompt_longer_than_what_is_served_is_read_and_not_answered() -> None:
    engine = Answers()
    outcome = judge(engine, [golden(), golden()], BF16, chat=True, limit=7)
    assert (outcome.of, outcome.too_long, outcome.equal, outcome.difference) == (2, 2, 0, None)
    assert [asked[0] for asked in engine.asked] == ["chat_ids", "chat_ids"]
    assert judge(Answers(), [golden()], BF16, chat=True, limit=8).too_long == 0


# -- what an export holds

ROW = {"kind": "plain", "messages": [{"role": "user", "content": "q"}], "prompt_ids": [1, 2], "answer_ids": [5, 6], "logprobs": [-0.1, -0.2]}


def write(folder: Path, name: str, document: Any) -> Path:
    (folder / name).write_text(json.dumps(document))
    return folder


def test_golden_answers_come_before_parity(tmp_path: Path) -> None:
    write(tmp_path, "parity.json", [ROW])
    write(tmp_path, "golden_answers.json", {"prompts": [{**ROW, "kind": "row", "margins": [1.0, 2.0], "ended": True, "tools": [{"a": 1}]}]})
    (found,) = read_golden(tmp_path)
    assert (found.kind, found.answer.margins, found.ended, found.tools) == ("row", [1.0, 2.0], True, [{"a": 1}])


def test_parity_says_less(tmp_path: Path) -> None:
    """Whether an answer ended is seen by its length or its last token."""
    write(tmp_path, "generation_config.json", {"eos_token_id": [2, 7]})
    rows = [ROW, {**ROW, "answer_ids": [5, 6, 8], "logprobs": [0.0] * 3}, {**ROW, "answer_ids": [5, 6, 7], "logprobs": [0.0] * 3}]
    assert [(g.ended, g.answer.margins) for g in read_golden(write(tmp_path, "parity.json", rows))] == [(True, []), (False, []), (True, [])]


@pytest.mark.parametrize(
    "document", [[], {}, {"prompts": []}, [{}], [{**ROW, "logprobs": []}], [{**ROW, "answer_ids": [], "logprobs": []}], [{**ROW, "prompt_ids": []}], "x", [1]]
)
def test_what_holds_nothing_to_compare_with_is_refused(tmp_path: Path, document: Any) -> None:
    with pytest.raises(GateRefused, match="no golden answers"):
        read_golden(write(tmp_path, "parity.json", document))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(GateRefused, match=r"neither golden_answers\.json nor parity\.json is there"):
        read_golden(tmp_path)


def test_where_a_template_may_be(tmp_path: Path) -> None:
    assert not has_template(tmp_path)
    assert not has_template(write(tmp_path, "tokenizer_config.json", {"eos_token": "x"}))
    assert has_template(write(tmp_path, "tokenizer_config.json", {"chat_template": "{{ x }}"}))
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / "chat_template.jinja").write_text("x")
    assert has_template(tmp_path)
