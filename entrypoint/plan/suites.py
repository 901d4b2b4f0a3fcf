"""Suites of the spec -> what is asked, everything decided."""

from schemas.spec import Spec
from schemas.suite import Choice, Questions, SuiteJob


def own_suites(spec: Spec) -> tuple[Choice | Questions, ...]:
    """Those with rows of the user's own, in the order of the spec."""
    return tuple(suite for suite in spec.evaluate.suites if not isinstance(suite, str))


def suite_sources(spec: Spec) -> tuple[str, ...]:
    """Where their rows come from, each once."""
    return tuple(dict.fromkeys(suite.source for suite in own_suites(spec)))


def suite_jobs(spec: Spec, requests: int) -> tuple[SuiteJob, ...]:
    """One a suite, `requests` of its questions at once; its rows lie in the folder of its source's place in `suite_sources`."""
    sources = suite_sources(spec)
    return tuple(
        SuiteJob(
            name=suite.name, kind=suite.kind, source=suite.source, path=f"{sources.index(suite.source):02d}", columns=_columns(suite), limit=suite.limit,
            metric=suite.metric if isinstance(suite, Questions) else "accuracy", max_tokens=suite.max_tokens, seed=spec.train.seed,
            requests=requests,
        )
        for suite in own_suites(spec)
    )  # fmt: skip


def _columns(suite: Choice | Questions) -> dict[str, str]:
    columns = suite.columns
    found = {"question": columns.question or "question", "answer": columns.answer or "answer", "group": columns.group or "group"}
    return found | ({"choices": suite.columns.choices or "choices"} if isinstance(suite, Choice) else {})
