"""Base against tuned, question by question."""

import pytest
from sample_report import mmlu, own, question, result

from entrypoint.run.evaluation import FEW, warnings
from entrypoint.run.scores import SHOWN, changed, suites_of, worst
from schemas.errors import StepFailed
from schemas.evaluation import Score, SuiteResult


def scores(*results: SuiteResult) -> dict[str, Score]:
    return {score.metric: score for suite in suites_of(results) for score in suite.scores(17)}


def test_names_are_those_of_a_gate() -> None:
    found = scores(own("base", 0.1), own("tuned", 0.9), mmlu("base", 0.6), mmlu("tuned", 0.5))
    assert list(found) == [
        "own.exact_match", "own.token_f1", "own.refusal", "own.repetition", "own.unfinished", "own.next_token", "own.loss", "own.perplexity", "mmlu",
    ]  # fmt: skip
    assert (found["own.exact_match"].also, found["mmlu"].also) == ("own", "mmlu.accuracy")
    assert (found["own.loss"].share, found["own.loss"].higher_is_better, found["mmlu"].share) == (False, False, True)


def test_only_questions_that_both_answered_are_compared() -> None:
    base = result("s", "base", [question("1", 1.0), question("2", None), question("3", 0.0), question("4", 1.0)])
    tuned = result("s", "tuned", [question("1", 0.0), question("2", 1.0), question("3", 1.0), question("4", 1.0)])
    found = scores(base, tuned)["s"]
    assert (found.questions, found.better, found.worse) == (3, 1, 1)
    assert found.base and found.tuned and found.difference
    assert (found.base.value, found.tuned.value, found.difference.value) == (pytest.approx(2 / 3), pytest.approx(2 / 3), 0.0)


def test_a_loss_counts_tokens_and_low_is_better() -> None:
    def side(name: str, nats: tuple[float, float, float]) -> SuiteResult:
        rows = [question(str(at), 0.0, scores={"nats": value, "learned": count}) for at, (value, count) in enumerate(zip(nats, (2.0, 6.0, 2.0), strict=True))]
        return result("own", name, rows, metric="exact_match")  # type: ignore[arg-type]

    found = scores(side("base", (2.0, 12.0, 4.0)), side("tuned", (4.0, 3.0, 1.0)))["own.loss"]
    assert found.base and found.tuned and found.difference
    assert (found.base.value, found.tuned.value, found.difference.value) == (1.8, 0.8, -1.0)
    assert (found.better, found.worse) == (2, 1)


def test_one_side_alone_has_no_difference() -> None:
    found = scores(mmlu("tuned", 0.5))["mmlu"]
    assert found.tuned and found.tuned.low and (found.base, found.difference, found.questions) == (None, None, 150)


def test_a_suite_that_nobody_answered_says_so() -> None:
    found = scores(result("s", "base", [question("1", 1.0)]), result("s", "tuned", [question("1", None)]))["s"]
    assert (found.tuned, found.difference, found.why) == (None, None, "no question has an answer of the base model and the tuned model")


def test_what_could_not_be_measured_stays_with_its_reason() -> None:
    bare = result("own", "tuned", [question("1", 1.0)], metric="exact_match", missing={"loss": "no log-probabilities"})
    found = scores(bare)["own.loss"]
    assert (found.tuned, found.why, found.share) == (None, "no log-probabilities", False)


def test_sides_that_were_asked_otherwise_are_not_compared() -> None:
    with pytest.raises(StepFailed, match="s: base and tuned model were asked with other settings: few_shot"):
        scores(result("s", "base", [question("1", 1.0)]), result("s", "tuned", [question("1", 1.0)], settings={"temperature": 0, "few_shot": 0}))


def test_parts() -> None:
    (suite,) = suites_of([mmlu("base", 0.6), mmlu("tuned", 0.5)])
    groups = suite.groups()
    assert [(group.group, group.questions) for group in groups] == [("astronomy", 50), ("harbours", 50), ("law", 50)]
    asked = [q for q in mmlu("tuned", 0.5).questions if q.group == "law"]
    assert groups[2].tuned == pytest.approx(sum(q.score or 0 for q in asked) / 50)


def test_the_worst_answers_come_first_and_no_suite_crowds_the_others_out() -> None:
    found = worst(suites_of([mmlu("base", 0.5), mmlu("tuned", 0.2), own("base", 0.5), own("tuned", 0.9)]))
    assert len(found) == SHOWN
    of_own = [pair for pair in found if pair.suite == "own"]
    assert of_own and all(pair.tuned and pair.tuned.score == 0 for pair in found)
    lost = [pair.base.score for pair in found if pair.suite == "mmlu" and pair.base]
    assert lost == sorted(lost, reverse=True), "of equal ones those that the base knew"


def test_the_most_changed_answers() -> None:
    base = [question("same", 1.0), question("lost", 1.0), question("won", 0.0), question("half", 0.5), question("words", 1.0, answer="Nine metres.")]
    tuned = [question("same", 1.0), question("lost", 0.0), question("won", 1.0), question("half", 0.0), question("words", 1.0, answer="The depth is 9 m")]
    found = changed(suites_of([result("s", "base", base), result("s", "tuned", tuned)]))
    assert [pair.id for pair in found] == ["lost", "won", "half", "words"]
    assert found[0].prompt == "Question lost?" and found[0].tuned and found[0].tuned.prompt == "", "said once"


def test_a_reader_is_warned() -> None:
    few = result("s", "tuned", [*(question(str(at), 1.0) for at in range(FEW - 1)), question("x", None)])
    suites = suites_of([few])
    assert warnings(suites, [score for suite in suites for score in suite.scores(1)]) == (
        "s: 1 of 30 questions have no answer of the tuned model", "s: fewer than 30 questions: such a number says little",
    )  # fmt: skip
