"""The run's validation rows, asked over HTTP of a server with a real model: what is measured is compared with the model itself."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")
from served_model import learned  # noqa: E402
from teacher_server import TeacherServer  # noqa: E402
from tiny import rows  # noqa: E402

from entrypoint.run import endpoint as endpoint_module  # noqa: E402
from entrypoint.run.endpoint import Endpoint  # noqa: E402
from entrypoint.run.evaluation import Told, make_report  # noqa: E402
from entrypoint.run.own_rows import read_rows  # noqa: E402
from entrypoint.run.own_suite import NO_LOGPROBS, Asked, ask_own  # noqa: E402
from entrypoint.run.scores import suites_of  # noqa: E402
from entrypoint.run.shards import ShardWriter  # noqa: E402
from entrypoint.run.template import Encoded  # noqa: E402
from schemas.evaluation import Score, SuiteResult  # noqa: E402

pytestmark = pytest.mark.image
COUNT = 12
np = pytest.importorskip("numpy")


@pytest.fixture(scope="module")
def models():
    """One that knows its rows by heart, one that knows nothing, and their tokenizer."""
    tuned, tokenizer = learned(300)
    base, _ = learned(0)
    return {"tuned": tuned, "base": base, "tokenizer": tokenizer}


def encode(tokenizer, question: str, answer: str) -> Encoded:
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True)
    before = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    behind = tokenizer(f"{answer}<|im_end|>", add_special_tokens=False)["input_ids"]
    mask = [0] * len(before) + [1] * len(behind)
    return Encoded(np.array(before + behind, dtype=np.int32), np.array(mask, dtype=np.uint8))


def write(folder: Path, encoded: list[Encoded], labels: list[bool] | None = None) -> Path:
    writer = ShardWriter(folder, "validation", labelled=labels is not None)
    for at, row in enumerate(encoded):
        writer.add(row, labels[at] if labels else True)
    writer.flush(0)
    return folder


def sides(tokenizer) -> list[tuple[str, str]]:
    return [(row["messages"][0]["content"], row["messages"][1]["content"]) for row in rows(COUNT)]


def ask(models, folder: Path, side: str, asked: Asked, **server) -> SuiteResult:
    with TeacherServer(models[side], models["tokenizer"], name=side, **server) as running:
        endpoint = Endpoint(running.url, None, side, tries=2)
        try:
            return ask_own(folder, lambda ids: models["tokenizer"].decode(ids, skip_special_tokens=True), endpoint, side, asked)
        finally:
            endpoint.close()


def scores(*results: SuiteResult) -> dict[str, Score]:
    return {score.metric: score for suite in suites_of(results) for score in suite.scores(1)}


def test_base_against_tuned(models, tmp_path):
    folder = write(tmp_path, [encode(models["tokenizer"], *side) for side in sides(models["tokenizer"])])
    asked = Asked("text", seed=17, length=256)
    base, tuned = (ask(models, folder, side, asked) for side in ("base", "tuned"))
    found = scores(base, tuned)
    assert found["own.exact_match"].tuned.value == 1.0 and found["own.exact_match"].base.value == 0.0
    assert found["own.unfinished"].tuned.value == 0.0 and found["own.unfinished"].base.value > 0.5
    assert [q.answer for q in tuned.questions] == [answer for _, answer in sides(models["tokenizer"])]
    assert all(q.ended == "stop" and q.tokens == len(models["tokenizer"](q.answer)["input_ids"]) + 1 for q in tuned.questions)
    for result in (base, tuned):
        assert found["own.loss"].model_dump()[result.side]["value"] == pytest.approx(own_loss(models[result.side], folder), abs=1e-4)
    assert found["own.perplexity"].base.value == pytest.approx(np.exp(found["own.loss"].base.value))
    assert found["own.loss"].difference.high < 0


def own_loss(model, folder: Path) -> float:
    """By torch, over all learned tokens."""
    nats, count = 0.0, 0
    for row in read_rows(folder, "text", 500, 0):
        with torch.no_grad():
            found = model(input_ids=torch.tensor([row.text.ids])).logits[0].log_softmax(-1)
        nats -= sum(float(found[place - 1, row.text.ids[place]]) for place in row.text.learned)
        count += len(row.text.learned)
    return nats / count


def test_pairs(models, tmp_path):
    tokenizer = models["tokenizer"]
    pairs = [encode(tokenizer, question, said) for question, answer in sides(tokenizer) for said in (answer, "No word at all.")]
    result = ask(models, write(tmp_path, pairs), "tuned", Asked("pair", length=256))
    assert (result.metric, len(result.questions)) == ("preference_accuracy", COUNT)
    assert scores(result)["own.preference_accuracy"].tuned.value == 1.0
    assert scores(result)["own.exact_match"].tuned.value == 1.0
    turned = [pairs[at + 1 - 2 * (at % 2)] for at in range(len(pairs))]
    (tmp_path / "turned").mkdir()
    again = ask(models, write(tmp_path / "turned", turned), "tuned", Asked("pair", length=256))
    assert scores(again)["own.preference_accuracy"].tuned.value == 0.0


def test_labelled_rows_are_asked_where_they_are_wanted(models, tmp_path):
    encoded = [encode(models["tokenizer"], *side) for side in sides(models["tokenizer"])]
    result = ask(models, write(tmp_path, encoded, [at % 3 == 0 for at in range(COUNT)]), "tuned", Asked("labelled", length=256))
    assert [q.id for q in result.questions] == ["row-1", "row-4", "row-7", "row-10"]


def test_raw_text_has_no_question(models, tmp_path):
    whole = [Encoded(row.ids, np.ones_like(row.supervised)) for row in (encode(models["tokenizer"], *side) for side in sides(models["tokenizer"]))]
    result = ask(models, write(tmp_path, whole), "tuned", Asked("text", raw=True))
    assert result.metric == "next_token" and all(q.answer == "" and q.score is not None for q in result.questions)
    assert 0.3 < scores(result)["own.next_token"].tuned.value <= 1.0


def test_a_server_without_log_probabilities(models, tmp_path):
    folder = write(tmp_path, [encode(models["tokenizer"], *side) for side in sides(models["tokenizer"])])
    result = ask(models, folder, "tuned", Asked("text", length=256), form="none")
    found = scores(result)
    assert found["own.exact_match"].tuned.value == 1.0
    assert (found["own.loss"].tuned, found["own.loss"].why) == (None, NO_LOGPROBS)


def test_a_limit_draws_the_same_rows_for_both(models, tmp_path):
    folder = write(tmp_path, [encode(models["tokenizer"], *side) for side in sides(models["tokenizer"])])
    drawn = [row.id for row in read_rows(folder, "text", 5, 17)]
    assert len(drawn) == 5 and drawn == [row.id for row in read_rows(folder, "text", 5, 17)]
    assert drawn != [row.id for row in read_rows(folder, "text", 5, 18)]


def test_what_the_server_fails_at_is_counted(models, tmp_path, monkeypatch):
    """Each row is two requests; one that fails is sent once more."""
    monkeypatch.setattr(endpoint_module, "WAIT_SECONDS", 0.001)
    folder = write(tmp_path, [encode(models["tokenizer"], *side) for side in sides(models["tokenizer"])[:3]])
    with TeacherServer(models["tuned"], models["tokenizer"], name="tuned") as running:
        running.fails = {1: 500, 3: 500, 4: 500, 6: 400}
        endpoint = Endpoint(running.url, None, "tuned", tries=2)
        result = ask_own(
            folder, lambda ids: models["tokenizer"].decode(ids, skip_special_tokens=True), endpoint, "tuned", Asked("text", requests=1, length=256)
        )
        endpoint.close()
    assert [(q.error.partition(": ")[0], q.score is None, q.ended) for q in result.questions] == [
        ("HTTP 500", True, "none"),
        ("HTTP 400", True, "none"),
        ("", False, "stop"),
    ]
    assert result.retried == 2


def test_a_model_that_learned_shuffled_answers_is_refused_by_the_gate(models, tmp_path):
    """The same rows, the same steps; only whose answer is whose was mixed up. The gate tells the two apart."""
    good = rows(COUNT)
    answers = [row["messages"][1] for row in good]
    mixed = [{"messages": [row["messages"][0], answers[at - 5]]} for at, row in enumerate(good)]
    shuffled, _ = learned(300, rows=mixed)
    folder = write(tmp_path, [encode(models["tokenizer"], *side) for side in sides(models["tokenizer"])])
    asked, gate = Asked("text", seed=17, length=256), {"own.exact_match": ">= base + 50%", "own.loss": "<= base * 0.5"}
    base = ask(models, folder, "base", asked)
    of_tuned = ask(models, folder, "tuned", asked)
    of_shuffled = ask(models | {"tuned": shuffled}, folder, "tuned", asked)
    good_report, bad_report = (make_report([base, tuned], Told(name="n", export="e", seed=17, gate=gate)) for tuned in (of_tuned, of_shuffled))
    assert good_report.passed and not bad_report.passed
    assert not bad_report.gate[0].passed
    said = [q.answer for q in of_shuffled.questions]
    assert said == [row["messages"][1]["content"] for row in mixed], "it did learn, and the wrong thing"


def test_no_validation(tmp_path):
    assert read_rows(tmp_path, "text", 5, 1) == []
