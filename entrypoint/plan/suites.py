"""Suites of the spec -> what is asked, everything decided."""

from schemas.spec import Spec
from schemas.suite import Benchmark, Choice, Questions, SuiteJob, source_of

Wanted = Choice | Questions | Benchmark


def wanted_suites(spec: Spec) -> tuple[Wanted, ...]:
    """Every suite beside the validation rows, in the order of the spec; a name alone is a benchmark as it comes."""
    return tuple(Benchmark(kind="benchmark", name=suite) if isinstance(suite, str) else suite for suite in spec.evaluate.suites)


def suite_sources(spec: Spec) -> tuple[str, ...]:
    """Where their questions come from, each once."""
    return tuple(dict.fromkeys(source_of(suite) for suite in wanted_suites(spec)))


def suite_jobs(spec: Spec, requests: int) -> tuple[SuiteJob, ...]:
    """One a suite, `requests` of its questions at once; its rows lie in the folder of its source's place in `suite_sources`."""
    sources = suite_sources(spec)
    return tuple(_job(suite, f"{sources.index(source_of(suite)):02d}", spec.train.seed, requests) for suite in wanted_suites(spec))


def _job(suite: Wanted, path: str, seed: int, requests: int) -> SuiteJob:
    return SuiteJob(
        name=suite.name, kind=suite.kind, source=source_of(suite), path=path, columns={} if isinstance(suite, Benchmark) else _columns(suite), limit=suite.limit,
        metric=suite.metric if isinstance(suite, Questions) else "accuracy", max_tokens=suite.max_tokens, seed=seed, requests=requests,
        subsets=suite.subsets if isinstance(suite, Benchmark) else (), examples=suite.examples if isinstance(suite, Benchmark) else None,
    )  # fmt: skip


def _columns(suite: Choice | Questions) -> dict[str, str]:
    columns = suite.columns
    found = {"question": columns.question or "question", "answer": columns.answer or "answer", "group": columns.group or "group"}
    return found | ({"choices": suite.columns.choices or "choices"} if isinstance(suite, Choice) else {})
