"""Every kind of row in the shards, rows over the limit, and what the gate says of rows for another method."""

import json

import pytest

pytest.importorskip("transformers")

from gate_run import attempt, model
from tiny import rows, tokenizer

from entrypoint.run.shards import read_shards
from schemas.errors import GateRefused

pytestmark = pytest.mark.image
__all__ = ["attempt", "model"]

PAIRS = [{"prompt": f"Case {i}?", "chosen": f"Yes, {i}.", "rejected": "No."} for i in range(30)]
LABELS = [{"prompt": f"Case {i}?", "completion": f"Yes, {i}.", "label": i % 3 == 0} for i in range(30)]
TEXTS = [{"text": f"The harbour of case {i}. " * (1 + i % 4)} for i in range(30)]
LONG = {"messages": [m for i in range(6) for m in ({"role": "user", "content": f"Question {i}? " * 5}, {"role": "assistant", "content": f"Answer {i}. " * 5})]}


def sequences(output, split="train"):
    """Each row of a split as (text, learned text)."""
    made, found = tokenizer(), []
    for shard in read_shards(output, split):
        for a, b in zip(shard["starts"][:-1], shard["starts"][1:], strict=True):
            ids, learned = shard["ids"][a:b], shard["supervised"][a:b] == 1
            found.append((made.decode(ids.tolist()), made.decode(ids[learned].tolist())))
    return found


def test_pairs_lie_side_by_side_and_share_their_prompt(attempt):
    summary, output = attempt(PAIRS, rows="pair", method="dpo", validation_share=0.0)
    found = sequences(output)
    assert (summary["train"]["rows"], len(found)) == (30, 60)
    for i in range(30):
        (chosen, wanted), (rejected, unwanted) = found[2 * i], found[2 * i + 1]
        assert (wanted, unwanted) == (f"Yes, {i}.<|im_end|>", "No.<|im_end|>")
        prompt = f"<|im_start|>user\nCase {i}?<|im_end|>\n<|im_start|>assistant\n"
        assert chosen.startswith(prompt + wanted) and rejected.startswith(prompt + unwanted)
    assert summary["train"]["longest"] == max(
        len(s["ids"][a:b]) for s in read_shards(output, "train") for a, b in zip(s["starts"], s["starts"][1:], strict=False)
    )


def test_labels_lie_beside_their_rows(attempt):
    _, output = attempt(LABELS, rows="labelled", method="kto", validation_share=0.0)
    (shard,) = read_shards(output, "train")
    assert shard["desirable"].tolist() == [int(i % 3 == 0) for i in range(30)]
    assert [learned for _, learned in sequences(output)] == [f"Yes, {i}.<|im_end|>" for i in range(30)]


def test_raw_text_is_learned_whole_with_its_end(attempt):
    _, output = attempt(TEXTS, raw=True, method="pretrain", validation_share=0.0)
    assert sequences(output) == [(r["text"] + "<|im_end|>",) * 2 for r in TEXTS]


@pytest.mark.parametrize(
    ("content", "changes", "said"),
    [
        (PAIRS, {}, "these rows are for dpo, ipo, orpo, simpo, cpo and reward"),
        (LABELS, {}, "these rows are for kto"),
        ([{"question": r["prompt"], "answer": r["completion"], "desirable": r["label"]} for r in LABELS], {}, "without the label"),
        ([{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "rejected_response": "b"}], {}, "without the worse answer"),
        ([{"prompt": "q", "choosen": "a", "rejectd": "b"}], {}, "`choosen` is like `chosen`, `rejectd` is like `rejected`"),
        (TEXTS, {}, "these rows are for pretrain"),
        ([{"prompt": "q"}], {}, "questions alone are for grpo, rloo and ppo, which are not built yet"),
        (rows(5), {"rows": "pair", "method": "dpo"}, "these rows are for sft and distil"),
        (rows(5), {"raw": True, "method": "pretrain"}, "these rows are for sft and distil"),
    ],
)
def test_rows_for_another_method_say_which(attempt, content, changes, said):
    with pytest.raises(GateRefused, match=r"none of .* rows is of a kind that") as refused:
        attempt(content, **changes)
    assert said in refused.value.fix


@pytest.mark.parametrize(
    ("content", "changes", "fix"),
    [
        (rows(20), {"validation": LABELS}, "these rows are for kto; write that method"),
        ([{"messages": []}] * 5, {}, "mend the rows"),
        ([*rows(20), *[{"messages": []}] * 5], {}, "mend the rows, or raise data.max_rejected"),
        ([{"prompt": "q", "completion": "a"}], {"source": {"format": "prompt"}}, "these rows have `completion`: leave `format: prompt` out"),
        ([{"prompt": "q", "output": "a"}], {}, "where `output` is their answer, map it: columns: {completion: output}"),
        ([{"prompt": "q", "chosen": "a"}], {"rows": "pair", "method": "dpo"}, "a pair has `chosen` and `rejected`, and these rows `chosen` alone"),
    ],
)
def test_what_helps_against_bad_rows(attempt, content, changes, fix):
    """No share of bad rows is offered where it would leave out all of them, or a whole source."""
    with pytest.raises(GateRefused) as refused:
        attempt(content, **changes)
    assert refused.value.fix.startswith(fix) or refused.value.fix.endswith(fix)
    assert ("max_rejected" in refused.value.fix) is ("max_rejected" in fix)


def test_cut_rows_keep_their_end_token(attempt):
    _, output = attempt([*rows(10), LONG], too_long="truncate", max_length=100, validation_share=0.0)
    text, learned = sequences(output)[-1]
    assert len(tokenizer()(text)["input_ids"]) <= 100
    assert learned.endswith("<|im_end|>")
    report = json.loads((output / "report.json").read_text())
    assert (report["cut"], report["too_long"], report["no_end_token_supervised"]) == (1, 0, 0)
    assert report["cut_tokens"] > 100


def test_a_question_that_fills_the_limit_is_no_row(attempt):
    long = {"messages": [{"role": "user", "content": "word " * 100}, {"role": "assistant", "content": "Yes."}]}
    _, output = attempt([*rows(10), long], too_long="truncate", max_length=100, max_rejected=0.1)
    report = json.loads((output / "report.json").read_text())
    assert report["rejected_by_reason"] == {"no answer begins within 100 tokens": 1}
    assert report["rejected_rows"][0]["words"].startswith("word word")


def test_conversations_are_split_between_turns(attempt):
    _, output = attempt([LONG], too_long="split", max_length=150, validation_share=0.0)
    found = sequences(output)
    assert len(found) > 1
    assert "".join(learned for _, learned in found) == "".join(m["content"] + "<|im_end|>" for m in LONG["messages"] if m["role"] == "assistant")
    report = json.loads((output / "report.json").read_text())
    assert (report["split_rows"], report["split_pieces"]) == (1, len(found))


def test_texts_are_split_anywhere(attempt):
    _, output = attempt(TEXTS, raw=True, method="pretrain", too_long="split", max_length=16, validation_share=0.0)
    assert "".join(text for text, _ in sequences(output)) == "".join(r["text"] + "<|im_end|>" for r in TEXTS)
    assert json.loads((output / "report.json").read_text())["no_end_token_supervised"] > 0


def test_one_exchange_over_the_limit_cannot_be_split(attempt):
    with pytest.raises(GateRefused, match="cannot be split between turns"):
        attempt([LONG], too_long="split", max_length=20)


def test_what_is_in_validation_is_not_trained_on(attempt):
    _, output = attempt(rows(40), validation=rows(8))
    report = json.loads((output / "report.json").read_text())
    assert (report["in_train_and_validation"], report["train"]["rows"], report["validation"]["rows"]) == (8, 32, 8)
    assert not {t for t, _ in sequences(output)} & {t for t, _ in sequences(output, "validation")}


def test_weights_are_in_the_shards_and_the_report(attempt):
    summary, output = attempt(rows(40), source={"weight": 2.0}, validation_share=0.0)
    assert summary["train"]["rows"] == len(sequences(output)) == 80
    (source,) = json.loads((output / "report.json").read_text())["sources"]
    assert (source["taken"], source["repeated"], source["left_out"]) == (40, 40, 0)


def test_max_rows(attempt):
    summary, _ = attempt(rows(40), source={"max_rows": 10}, validation_share=0.0)
    assert summary["train"]["rows"] == 10


def test_a_file_that_breaks_off_refuses_whatever_may_be_rejected(attempt):
    with pytest.raises(GateRefused, match="the rows behind this place are lost"):
        attempt(json.dumps(rows(40)).encode()[:-30], suffix=".json", max_rejected=1.0)


def test_unknown_keys_everywhere_are_refused_with_the_way_out(attempt):
    with pytest.raises(GateRefused, match=r"no known format.*`format: completion` and `columns: {prompt: frage, completion: antwort}`"):
        attempt([{"frage": "q", "antwort": "a"}])


def test_a_template_without_thinking_is_said(attempt):
    thinking = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "4", "reasoning_content": "Two and two make it."}]}
    _, output = attempt([*rows(10), thinking], validation_share=0.0)
    assert json.loads((output / "report.json").read_text())["thinking_left_out_by_the_template"] == 1
