"""Benchmarks by name: EvalScope's real adapters over small data sets of the public form, asked of a server on loopback whose answers the test chooses."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from entrypoint.run.benchmarks.asking import ask_benchmark, look_at_benchmark
from entrypoint.run.endpoint import Endpoint
from schemas.errors import MachineError
from schemas.evaluation import SuiteResult
from schemas.suite import SuiteJob

sys.path.append(str(Path(__file__).parents[1] / "suites"))
from test_asking import Say, answer, serving

pytest.importorskip("evalscope")
pytestmark = pytest.mark.image

CHOICES = ["North", "South", "East", "West"]
MMLU = {"question": "Which berth has shore power?", "subject": "anatomy", "choices": CHOICES, "answer": 1}
CEVAL = {"id": 0, "question": "哪个泊位有岸电？", "A": "北", "B": "南", "C": "东", "D": "西", "answer": "B", "explanation": ""}
CMMLU = {"question": "哪个泊位有岸电？", "choices": ["(A) 北", "(B) 南", "(C) 东", "(D) 西"], "answer": "(B)", "category": "anatomy"}
GSM8K = {"question": "A crane lifts 3 boxes an hour. How many in 4 hours?", "answer": "3 times 4 is 12.\n#### 12"}
BBH = {"input": "not ( True ) is", "target": "False"}
TRUTH = {"question": "What feeds gulls?", "mc1_targets": {"choices": CHOICES[:2], "labels": [1, 0]}, "mc2_targets": {"choices": CHOICES[:2], "labels": [1, 0]}}
ARC = {"id": "x", "question": "Which is a tide?", "choices": {"text": CHOICES, "label": ["A", "B", "C", "D"]}, "answerKey": "2"}
HELLA = {"ctx_a": "A ship comes in.", "ctx_b": "the pilot", "endings": CHOICES, "label": "1", "activity_label": "Piloting"}

SETS: dict[str, tuple[tuple[str, ...], dict[str, list[dict[str, Any]]], str]] = {
    "mmlu": (("anatomy",), {"all/test-00000-of-00001.jsonl": [MMLU] * 3, "all/dev-00000-of-00001.jsonl": [MMLU] * 5}, "ANSWER: B"),
    "ceval": (("law",), {"val/law_val.jsonl": [CEVAL] * 3, "dev/law_dev.jsonl": [CEVAL] * 5}, "答案：B"),
    "cmmlu": (("anatomy",), {"test.jsonl": [CMMLU] * 3}, "答案：B"),
    "gsm8k": ((), {"test.jsonl": [GSM8K] * 3, "train.jsonl": [GSM8K] * 4}, "ANSWER: \\boxed{12}"),
    "bbh": (("boolean_expressions",), {"boolean_expressions/test.jsonl": [BBH] * 3}, "So the answer is False."),
    "truthful_qa": ((), {"multiple_choice/validation-00000-of-00001.jsonl": [TRUTH] * 3}, "ANSWER: {}"),
    "arc": (("ARC-Easy",), {"ARC-Easy/test.jsonl": [ARC] * 3}, "ANSWER: B"),
    "hellaswag": ((), {"data/validation.jsonl": [HELLA] * 3}, "ANSWER: B"),
}
"""Of each: its part, its files, and the right answer."""


def job(name: str, **changed: Any) -> SuiteJob:
    usual = {
        "name": name, "kind": "benchmark", "source": f"hf://x/{name}", "path": "00", "requests": 2, "columns": {}, "metric": "accuracy", "limit": None,
        "max_tokens": 64, "seed": 17, "subsets": SETS[name][0],
    }  # fmt: skip
    return SuiteJob.model_validate(usual | changed)


def write(folder: Path, name: str) -> Path:
    for file, rows in SETS[name][1].items():
        path = folder / "00" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def ask(folder: Path, name: str, say: Say, **changed: Any) -> tuple[SuiteResult, list[tuple[str, dict[str, Any]]]]:
    with serving(say) as (url, asked):
        return ask_benchmark(job(name, **changed), folder, Endpoint(url, "key", "m"), "tuned"), asked


@pytest.mark.parametrize("name", SETS)
def test_put_and_scored(name: str, tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    def say(body: dict[str, Any]) -> dict[str, Any]:
        """Right but for the third question."""
        seen.append(body)
        north = re.search(r"([AB])\) North", body["messages"][-1]["content"])
        return answer(SETS[name][2].replace("{}", north[1] if north else "") if len(seen) != 3 else "I do not know.")

    found, asked = ask(write(tmp_path, name), name, say, requests=1)
    assert [question.score for question in found.questions] == [1, 1, 0]
    assert (found.metric, found.kind, found.served_name, len(asked)) == ("accuracy", "benchmark", "m", 3)
    assert found.tool.startswith("evalscope ") and found.questions[0].tokens == 7 and found.questions[0].group
    body = seen[0]
    assert (body["temperature"], body["max_tokens"], body["model"]) == (0, 64, "m")


def test_failed_questions_are_kept_and_tries_counted(tmp_path: Path) -> None:
    found, asked = ask(write(tmp_path, "hellaswag"), "hellaswag", lambda _: 400, limit=2)
    assert [(question.score, question.ended) for question in found.questions] == [(None, "none")] * 2 and len(asked) == 2
    assert found.questions[0].error.startswith("HTTP 400")


def test_requests_that_were_given_up_are_counted_while_it_asks(tmp_path: Path) -> None:
    with serving(lambda _: 500) as (url, asked):
        endpoint, heard = Endpoint(url, "key", "m"), list[int]()
        found = ask_benchmark(job("hellaswag", limit=2), write(tmp_path, "hellaswag"), endpoint, "tuned", lambda done, of: heard.append(endpoint.given_up))
    assert heard[-1] == endpoint.given_up == 2 and endpoint.reason.startswith("HTTP 500")
    assert (found.retried, len(asked)) == (6, 8)


def test_missing_part_and_strange_rows(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="no file of arc's part ARC-Challenge, split test"):
        look_at_benchmark(job("arc", subsets=()), write(tmp_path, "arc"))
    with pytest.raises(MachineError, match="has not the rows of hellaswag"):
        look_at_benchmark(job("hellaswag", path="01"), _strange(tmp_path))
    with pytest.raises(MachineError, match="arc has no part ARC-Eazy"):
        look_at_benchmark(job("arc", subsets=("ARC-Eazy",)), tmp_path)


def _strange(folder: Path) -> Path:
    (folder / "01").mkdir()
    (folder / "01" / "validation.jsonl").write_text('{"question": "x"}\n', encoding="utf-8")
    return folder
