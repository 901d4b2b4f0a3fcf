"""From a file of preferences or of labels to trained weights, through the stages as a user runs them."""

import json

import pytest

pytest.importorskip("trl")

from method_rows import examples
from tiny import run, spec

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]


def plain(text):
    """Of an answer or a question, without the template's tokens."""
    return text.replace("<|im_start|>user\n", "").replace("<|im_start|>assistant\n", "").replace("<|im_end|>", "").strip()


ROWS = {
    "dpo": lambda i, row: {"prompt": plain(row["prompt"]), "chosen": plain(row["chosen"]), "rejected": plain(row["rejected"])},
    "kto": lambda i, row: {"prompt": plain(row["prompt"]), "completion": plain(row[("chosen", "rejected")[i % 2]]), "label": i % 2 == 0},
}


@pytest.mark.parametrize("kind", ROWS)
def test_prepared_rows_of_each_kind_are_trained(sources, tmp_path, kind):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(ROWS[kind](i, row)) + "\n" for i, row in enumerate(examples(40))))
    path = spec(tmp_path, sources[0], rows, method=f"{{kind: {kind}}}", train="{max_steps: 3, learning_rate: 5.0e-3, batch_tokens: 360}")
    for stage in ("fetch", "prepare", "train"):
        run(stage, path, "--store", tmp_path / "store", cwd=tmp_path)
    events = [json.loads(line) for line in (tmp_path / "store" / "tiny" / "logs" / "train.jsonl").read_text().splitlines()]
    steps = [event for event in events if event["event"] == "step"]
    assert len(steps) == 3 and all("rewards/margins" in step["metrics"] for step in steps)
