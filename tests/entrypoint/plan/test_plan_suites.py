"""Suites of the spec as they are asked."""

from pathlib import Path

from entrypoint.plan.suites import suite_jobs, suite_sources
from schemas.load import load

SPEC = Path(__file__).parents[3] / "specs" / "evaluate" / "own-questions.yaml"


def test_everything_is_decided():
    spec = load(SPEC.read_text(encoding="utf-8"))
    quiz, faq = suite_jobs(spec, 8)
    assert suite_sources(spec) == ("/data/quiz.jsonl", "/data/faq.jsonl")
    assert (quiz.path, quiz.metric, quiz.max_tokens, quiz.limit, quiz.columns["choices"]) == ("00", "accuracy", 16, None, "choices")
    assert (faq.path, faq.metric, faq.limit, faq.seed) == ("01", "token_f1", 200, spec.train.seed)
    assert faq.columns == {"question": "frage", "answer": "antwort", "group": "group"}


def test_benchmarks_by_name_or_as_mappings():
    text = SPEC.read_text(encoding="utf-8")
    spec = load(
        text[: text.index("evaluate:")]
        + "evaluate: {suites: [gsm8k, {kind: benchmark, name: arc, source: hf://allenai/ai2_arc, subsets: [ARC-Easy], limit: 9}]}\n"
    )
    gsm8k, arc = suite_jobs(spec, 8)
    assert suite_sources(spec) == ("/data/benchmarks/gsm8k", "hf://allenai/ai2_arc")
    assert (gsm8k.kind, gsm8k.path, gsm8k.metric, gsm8k.limit, gsm8k.subsets, gsm8k.examples) == ("benchmark", "00", "accuracy", None, (), None)
    assert (arc.path, arc.limit, arc.subsets) == ("01", 9, ("ARC-Easy",))
