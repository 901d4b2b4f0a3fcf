"""Results of two suites and both sides, as leaves write them, and a report of them."""

import random
from typing import Any

from entrypoint.run.evaluation import Told, make_report
from schemas.chain_link import Link
from schemas.evaluation import Load, Question, Side, SuiteResult
from schemas.report import Report

SUBJECTS = ("astronomy", "harbours", "law")


def question(id: str, score: float | None, **told: Any) -> Question:
    """One answer; without a score an error."""
    given = {"prompt": f"Question {id}?", "answer": f"Answer of {id}.", "expected": f"Answer of {id}.", "ended": "stop", "tokens": 6, "seconds": 0.25} | told
    if score is None:
        given |= {"answer": "", "ended": "none", "error": "HTTP 500: out of order"}
    return Question.model_validate({"id": id, "score": score, **given})


def result(suite: str, side: Side, questions: list[Question], **told: Any) -> SuiteResult:
    """One suite and side."""
    given = {
        "kind": "benchmark",
        "source": f"hf://org/{suite}",
        "metric": "accuracy",
        "tool": "evalscope 1.14.0",
        "settings": {"temperature": 0, "few_shot": 5},
    }
    return SuiteResult.model_validate(
        {"suite": suite, "side": side, "served_name": "n" if side == "tuned" else "n-base", "questions": questions, "seconds": 12.5, **given, **told}
    )


def own(side: Side, right: float, count: int = 60, seed: int = 3) -> SuiteResult:
    """The validation rows."""
    chance, questions = random.Random(f"{side} {seed}"), []
    for number in range(count):
        is_right = chance.random() < right
        said = "Nine metres at low tide." if is_right else "I do not know. " * chance.randint(1, 3)
        scores = {"token_f1": 1.0 if is_right else chance.random() / 2, "refusal": 0.0, "repetition": 0.0, "unfinished": float(not is_right and chance.random() < 0.2),
                  "nats": chance.uniform(4, 9) if is_right else chance.uniform(9, 30), "learned": 8.0, "next_token": chance.random()}  # fmt: skip
        questions.append(
            question(
                f"row-{number + 1}",
                float(is_right),
                prompt=f"How deep is berth {number + 1} of Port Ossley?",
                expected="Nine metres at low tide.",
                answer=said,
                scores=scores,
            )
        )
    return result(
        "own",
        side,
        questions,
        kind="validation",
        source="validation rows, as prepared",
        metric="exact_match",
        tool="caisson",
        settings={"temperature": 0, "rows": count},
    )


def mmlu(side: Side, right: float, count: int = 150) -> SuiteResult:
    """A benchmark with parts."""
    chance = random.Random(f"mmlu {side}")
    questions = [
        question(str(number), float(chance.random() < right), group=SUBJECTS[number % 3], prompt=f"Which of these is right, number {number}?\nA. one\nB. two\nC. three\nD. four", answer=chance.choice("ABCD"), expected="B")
        for number in range(count)
    ]  # fmt: skip
    return result("mmlu", side, [*questions, question("failed", None)], retried=3)


def loads() -> tuple[Load, ...]:
    """Three of them."""
    return tuple(
        Load(
            concurrency=at, requests=at * 8, prompt_tokens=256, answer_tokens=128, requests_per_second=at * 0.4 / (1 + at / 20), tokens_per_second=at * 51 / (1 + at / 20),
            first_token_seconds={"mean": 0.05 * at, "p50": 0.04 * at, "p95": 0.11 * at}, token_seconds={"p50": 0.02}, request_seconds={"p50": 2.1, "p95": 3.4}, tool="evalscope perf 1.14.0",
        )
        for at in (1, 4, 16)
    )  # fmt: skip


def chain() -> tuple[Link, ...]:
    """From rows to export."""
    digests = {role: f"{at}" * 64 for at, role in enumerate(("data", "model", "prepared", "trained", "exported"), 1)}
    made_of = {"prepared": ("data", "model"), "trained": ("model", "prepared"), "exported": ("model", "prepared", "trained")}
    what = {
        "data": "/data/harbor.jsonl",
        "model": "/models/smollm2-135m-instruct",
        "prepared": "270 rows to learn, 30 held out, seed 17",
        "trained": "sft, lora, 102 steps, last loss 0.4213",
        "exported": "safetensors",
    }
    return tuple(
        Link(
            role=role, stage={"data": "fetch", "model": "fetch", "prepared": "prepare", "trained": "train", "exported": "export"}[role], folder=f"n/{role}/{digest[:16]}", identity=digest,
            content=digest, finished_at="2026-01-02T10:00:00+00:00", inputs={other: digests[other] for other in made_of.get(role, ())}, what=what[role],
        )
        for role, digest in digests.items()
    )  # fmt: skip


def told(**changes: Any) -> Told:
    """What the results do not say."""
    curve = tuple((step, 3.2 * 0.97**step + 0.4 + 0.05 * (step % 3)) for step in range(1, 103))
    given: dict[str, Any] = {
        "name": "port-ossley", "export": "3f2a9c0d11e4b6a7", "seed": 17, "kind": "safetensors", "engine": "vllm 0.32.0",
        "gate": {"own.exact_match": ">= 0.9", "mmlu": ">= base - 5%", "own.perplexity": "<= base * 0.9"}, "loads": loads(), "losses": curve,
        "validation_losses": tuple((step, 3.2 * 0.97**step + 0.62) for step in (34, 68, 102)), "chain": chain(), "training_metrics": {"loss": 0.71, "rewards/accuracies": 0.93}, "versions": {"vllm": "0.32.0", "evalscope": "1.14.0", "torch": "2.13.0"},
    }  # fmt: skip
    return Told(**given | changes)


def report(**changes: Any) -> Report:
    """The tuned model knows its rows, and has forgotten a little."""
    results = [own("base", 0.05), own("tuned", 0.92), mmlu("base", 0.62), mmlu("tuned", 0.55)]
    return make_report(results, told(**changes), made_at="2026-01-03T09:30:00+00:00")
