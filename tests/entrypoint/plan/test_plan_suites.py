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
