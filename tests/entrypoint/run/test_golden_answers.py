"""What is written is what is read."""

import json
from pathlib import Path

from entrypoint.run.golden_answers import FILE_NAME, read_answers, write_answers
from entrypoint.run.greedy import Answer

GOLDEN = [{"kind": "plain", "messages": [{"role": "user", "content": "Größe?"}], "prompt_ids": [1, 2]}, {"kind": "row", "messages": [], "prompt_ids": [3]}]
ANSWERS = [Answer([5, 2], [-0.25, -0.5], [1.0, 2.0], ended=True), Answer([6], [-0.125], [0.5], ended=False)]


def test_round_trip(tmp_path: Path) -> None:
    write_answers(tmp_path, GOLDEN, ANSWERS)
    assert read_answers(tmp_path) == (GOLDEN, ANSWERS)


def test_the_file_by_itself(tmp_path: Path) -> None:
    """What serve reads."""
    write_answers(tmp_path, GOLDEN, ANSWERS)
    first = json.loads((tmp_path / FILE_NAME).read_text(encoding="utf-8"))[0]
    assert first == GOLDEN[0] | {"answer_ids": [5, 2], "logprobs": [-0.25, -0.5], "margins": [1.0, 2.0], "ended": True}
