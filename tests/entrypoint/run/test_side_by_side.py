"""A refusal that can be read in a terminal of 80 columns."""

from pathlib import Path

import pytest
from answered import golden

from entrypoint.run.serve_parity import Difference
from entrypoint.run.side_by_side import refusal, table

WORDS = {1: "<|im_start|>", 11: "user", 12: "\n", 13: "Hello", 14: "?" * 60, 2: "<|im_end|>"}


def shown(trained: list[int], served: list[int], at: int) -> list[str]:
    return table(Difference(1, golden(), "prompt", at, "", trained, served), lambda token: repr(WORDS[token]))


def test_the_first_difference_is_marked() -> None:
    assert shown([1, 11, 12, 13, 2], [1, 11, 13, 2], 2) == [
        "         trained                          served",
        "       1      1 '<|im_start|>'                 1 '<|im_start|>'",
        "       2     11 'user'                        11 'user'",
        "  >    3     12 '\\n'                          13 'Hello'",
        "       4     13 'Hello'                        2 '<|im_end|>'",
        "       5      2 '<|im_end|>'              (nothing)",
    ]


def test_only_what_is_around_it() -> None:
    ids = [1] * 100
    lines = shown(ids, [*ids[:50], 2, *ids[51:]], 50)
    assert len(lines) == 1 + 3 + 1 + 3
    assert lines[4].startswith("  >   51")


def test_80_columns() -> None:
    assert max(map(len, shown([14] * 9, [14] * 9, 4))) <= 80


def test_words(tmp_path: Path) -> None:
    difference = Difference(2, golden(kind="turns", content="x" * 200), "prompt", 1, "the prompt is read otherwise", [1, 11], [1, 12])
    said = str(refusal(difference, 6, tmp_path))
    lines = said.splitlines()
    assert lines[0] == "serve: parity: golden prompt 2 of 6 (turns), token 2 of its prompt:"
    assert lines[1] == "  the prompt is read otherwise"
    assert lines[2].startswith("  asked: 'xxx") and lines[2].endswith("...")
    assert all(len(line) <= 80 for line in lines[:-1])
    assert "chat template" in lines[-1] and "serve: {parity: warn}" in lines[-1]
    assert refusal(difference, 6, tmp_path).exit_code == 4


@pytest.mark.parametrize(("part", "word"), [("prompt", "tokenizer"), ("answer", "weights"), ("end", "eos_token_id")])
def test_each_part_has_its_fix(tmp_path: Path, part: str, word: str) -> None:
    assert word in (refusal(Difference(1, golden(), part, 0, "", [1], [2]), 1, tmp_path).fix or "")
