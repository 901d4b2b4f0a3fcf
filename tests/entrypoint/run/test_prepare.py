"""The data gate on real rows and files, through the leaf's own function."""

import hashlib
import json

import pytest

pytest.importorskip("transformers")

from gate_run import attempt, line, model
from tiny import rows, tokenizer

from entrypoint.run.shards import read_shards
from schemas.errors import GateRefused

pytestmark = pytest.mark.image
__all__ = ["attempt", "model"]

GOOD = rows(40)


def test_every_row_is_in_the_shards_once(attempt):
    summary, output = attempt(GOOD)
    assert summary["train"]["rows"] + summary["validation"]["rows"] == 40
    tokens = sum(len(s["ids"]) for split in ("train", "validation") for s in read_shards(output, split))
    assert tokens == summary["train"]["tokens"] + summary["validation"]["tokens"]
    report = json.loads((output / "report.json").read_text())
    assert report["rejected"] == 0 and report["read"] == 40


def test_the_split_depends_on_content_and_seed_alone(attempt):
    def held_back(found, **changes):
        _, output = attempt(found, **changes)
        shards = read_shards(output, "validation")
        return sorted(tuple(s["ids"][a:b].tolist()) for s in shards for a, b in zip(s["starts"], s["starts"][1:], strict=False))

    first = held_back(GOOD, validation_share=0.3)
    assert first and first == held_back(list(reversed(GOOD)), validation_share=0.3)
    assert first != held_back(GOOD, validation_share=0.3, seed=18)


def test_golden_prompts_hold_the_ids_that_serving_must_see(attempt):
    _, output = attempt(GOOD, validation_share=0.3)
    golden = json.loads((output / "golden.json").read_text())
    made = tokenizer()
    assert {g["kind"] for g in golden} == {"plain", "system", "turns", "unicode", "row"}
    for g in golden:
        text = made.apply_chat_template(g["messages"], tokenize=False, add_generation_prompt=True)
        assert g["prompt_ids"] == made(text, add_special_tokens=False)["input_ids"]


LONG = {"messages": [{"role": "user", "content": "word " * 400}, {"role": "assistant", "content": "Yes."}]}
SILENT = {"messages": [{"role": "user", "content": "Hello?"}]}
REFUSED = {
    "empty": (b"", "/data/rows.jsonl: the file holds no rows"),
    "blank lines only": (b"\n \n", "/data/rows.jsonl: the file holds no rows"),
    "not UTF-8": (line(GOOD[0]) + b'{"messages": "\xff"}\n', "/data/rows.jsonl:2: not UTF-8: byte 15 of the line is 0xff"),
    "not JSON": (line(GOOD[0]) + line(GOOD[1]) + b"{oops\n", "/data/rows.jsonl:3: not JSON: "),
    "no assistant turn": (line(SILENT) + line(GOOD[0]), "/data/rows.jsonl:1: no assistant turn"),
    "only long rows": (line(LONG) * 3, "3 of 3 rows are longer than 256 tokens; the first is /data/rows.jsonl:1 with"),
}


@pytest.mark.parametrize(("content", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_trained_on_is_refused_with_its_place(attempt, content, said, tmp_path):
    with pytest.raises(GateRefused) as refused:
        attempt(content)
    assert said in refused.value.what
    assert refused.value.fix
    assert refused.value.exit_code == 4


def test_long_rows_can_be_left_out_and_are_counted(attempt):
    summary, output = attempt([*GOOD, LONG], too_long="drop")
    assert summary["too_long"] == 1
    assert json.loads((output / "report.json").read_text())["too_long_rows"][0]["where"] == "/data/rows.jsonl:41"


def test_a_few_bad_rows_pass_where_the_spec_allows_them(attempt):
    summary, _ = attempt([*GOOD, SILENT], max_rejected=0.05)
    assert summary["rejected"] == 1
    with pytest.raises(GateRefused, match=r"1 of 41 rows are bad \(2.4%\), data.max_rejected allows 1.0%"):
        attempt([*GOOD, SILENT])


def test_validation_that_is_the_training_rows_is_told_as_that(attempt):
    with pytest.raises(GateRefused) as refused:
        attempt(GOOD, validation=GOOD)
    assert refused.value.what == "no training rows are left of 80: 40 are also in validation"
    assert refused.value.fix == "take other rows for validation"


def test_rows_with_tools_under_a_template_without_are_told_which_would_do(attempt):
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
    call = {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "weather", "arguments": {}}}]}
    turns = [{"role": "user", "content": "Rain?"}, call, {"role": "tool", "tool_call_id": "c", "content": "yes"}, {"role": "assistant", "content": "Yes."}]
    for found, template in (([{"messages": turns, "tools": [tool]}], None), ([{"messages": turns}], None), ([{"messages": turns}], "chatml")):
        with pytest.raises(GateRefused) as refused:
            attempt(found, **({"template": template} if template else {}))
        assert "own chat template shows tools" in refused.value.fix
    with pytest.raises(GateRefused) as refused:
        attempt([{"messages": turns}, {"messages": []}])
    assert refused.value.fix == "mend the rows"


def test_only_long_rows_left_after_dropping_is_refused(attempt):
    with pytest.raises(GateRefused, match="no training rows are left of 2"):
        attempt([LONG, LONG], too_long="drop")


@pytest.mark.parametrize(
    ("found", "changes", "what", "fix"),
    [
        (GOOD, {"validation_share": 1.0}, "no training rows are left of 40: 40 are held back for validation", "lower data.validation"),
        (
            [*GOOD, SILENT],
            {"validation_share": 1.0, "max_rejected": 0.5},
            "left of 41: 40 are held back for validation, 1 are bad\n  ",
            "lower data.validation",
        ),
        ([SILENT] * 3, {"max_rejected": 1.0}, "left of 3: 3 are bad\n  /data/rows.jsonl:1: no assistant turn", "mend the rows"),
        ([LONG] * 3, {"too_long": "drop", "max_length": 200}, "left of 3: 3 are longer than 200 tokens", "raise data.max_length"),
        ([LONG] * 3, {"too_long": "drop"}, "left of 3: 3 are longer than 256 tokens", "shorten these rows: the model has 256 positions, so data.max_length"),
        ([LONG], {"max_length": 200}, "1 of 1 rows are longer than 200 tokens", "raise data.max_length, or write too_long: truncate to cut them"),
        ([*GOOD, LONG], {"max_length": 200}, "1 of 41 rows are longer than 200 tokens", "or write too_long: drop to leave them out, truncate to cut them"),
        ([LONG], {}, "1 of 1 rows are longer than 256 tokens", "so data.max_length cannot be raised, or write too_long: truncate to cut them"),
    ],
)
def test_the_fix_is_for_where_the_rows_went(attempt, found, changes, what, fix):
    with pytest.raises(GateRefused) as refused:
        attempt(found, **changes)
    assert what in refused.value.what
    assert fix in refused.value.fix


def test_a_second_attempt_uses_nothing_of_the_first(attempt, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "train-00007.safetensors").write_bytes(b"half")
    _, output = attempt(GOOD)
    assert sorted(p.name for p in output.glob("train-*")) == ["train-00000.safetensors"]


def test_a_json_array_is_read_like_lines(attempt):
    summary, _ = attempt(json.dumps(GOOD).encode(), suffix=".json")
    assert summary["train"]["rows"] + summary["validation"]["rows"] == 40


def test_repeated_rows_and_leakage_are_reported(attempt, tmp_path):
    _, output = attempt([*GOOD, GOOD[0], GOOD[1]])
    assert json.loads((output / "report.json").read_text())["repeated_rows"] == 2


@pytest.mark.parametrize("template", ["auto", "zephyr"])
def test_the_template_lies_beside_the_shards_with_its_hash(attempt, template):
    summary, output = attempt(GOOD, template=template)
    text = (output / "chat_template.jinja").read_text()
    assert (text == tokenizer().chat_template) == (template == "auto")
    assert summary["template_sha256"] == hashlib.sha256(text.encode()).hexdigest()
    shard = read_shards(output, "train")[0]
    assert ("<|user|>" if template == "zephyr" else "<|im_start|>user") in tokenizer().decode(shard["ids"][: shard["starts"][1]].tolist())


def test_a_given_template_comes_with_the_rows(attempt, tmp_path):
    (tmp_path / "data").mkdir()
    given = tokenizer().chat_template.replace("user", "USER")
    (tmp_path / "data" / "chat_template.jinja").write_text(given)
    _, output = attempt(GOOD, template="given")
    assert (output / "chat_template.jinja").read_text() == given


def test_preferences_and_their_template_reach_the_weights(sources, tmp_path):
    """From a file of preferences to weights whose tokenizer has the template of the spec, as export reads them and serving after it."""
    from tiny import run, spec, write_rows
    from transformers import AutoTokenizer

    data = write_rows(tmp_path / "pairs.jsonl", [{"prompt": f"Case {i}?", "chosen": f"Yes, {i}.", "rejected": "No."} for i in range(20)])
    changes = {
        "data": f"{{train: [{{source: {data}}}], template: zephyr, validation: 0%}}",
        "method": "{kind: dpo}",
        "train": "{max_steps: 1, batch_tokens: 240}",
    }
    path = spec(tmp_path, sources[0], data, **changes)
    for stage in ("fetch", "prepare", "train"):
        run(stage, path, "--store", tmp_path / "store", cwd=tmp_path)
    (weights,) = (tmp_path / "store").glob("tiny/train/*/weights")
    (kept,) = (tmp_path / "store").glob("tiny/prepared/*/chat_template.jinja")
    assert AutoTokenizer.from_pretrained(weights).chat_template == kept.read_text()
    assert kept.read_text() != tokenizer().chat_template
