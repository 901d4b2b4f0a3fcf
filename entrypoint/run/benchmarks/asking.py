"""One benchmark asked of one model, by EvalScope in a process of its own: what it imports and patches stays there."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from entrypoint.run.endpoint import Endpoint
from schemas.benchmarks import BenchmarkAsked, BenchmarkTold
from schemas.errors import MachineError, StepFailed
from schemas.evaluation import Question, Side, SuiteResult
from schemas.suite import SuiteJob


def look_at_benchmark(job: SuiteJob, rows: Path) -> int:
    """Questions that it has. Raises MachineError where a part is missing: before an engine is started."""
    with _evalscope(_asked(job, rows)) as told:
        return _first(job, told).of or 0


def ask_benchmark(job: SuiteJob, rows: Path, endpoint: Endpoint, side: Side, tell: Callable[[int, int], None] | None = None) -> SuiteResult:
    """Ask every question; `rows` is the artifact of the suites' rows, `tell` hears questions done, of all. Raises as `look_at_benchmark`.

    The requests are the other process's; what it gave up is counted in `endpoint`.
    """
    start, found, retried = time.monotonic(), [], 0
    reached = {"url": endpoint.url, "key": endpoint.key or "", "model": endpoint.model}
    with _evalscope(_asked(job, rows).model_copy(update=reached)) as told:
        first = _first(job, told)
        for line in told:
            if line.question is not None:
                found.append(Question.model_validate(line.question))
                endpoint.given_up, endpoint.reason = line.given_up, line.reason
                if tell:
                    tell(len(found), first.of or 0)
            retried = line.retried or retried
    if len(found) != first.of:
        raise _broken(job)
    return SuiteResult(
        suite=job.name, kind="benchmark", source=job.source if "://" in job.source else Path(job.source).name, source_version=first.digest, side=side,
        served_name=endpoint.model, metric=job.metric, tool=first.tool, settings=first.settings, questions=tuple(found), retried=retried,
        seconds=round(time.monotonic() - start, 3),
    )  # fmt: skip


def _asked(job: SuiteJob, rows: Path) -> BenchmarkAsked:
    return BenchmarkAsked(
        name=job.name, folder=str(rows / job.path), source=job.source, subsets=job.subsets, limit=job.limit, examples=job.examples, max_tokens=job.max_tokens,
        seed=job.seed, requests=job.requests,
    )  # fmt: skip


def _first(job: SuiteJob, told: Iterator[BenchmarkTold]) -> BenchmarkTold:
    first = next(told, None)
    if first is None:
        raise _broken(job)
    if first.wrong:
        raise MachineError(f"evaluate.suites: {job.name}: {first.wrong}", first.fix)
    return first


def _broken(job: SuiteJob) -> StepFailed:
    return StepFailed(f"evaluate: {job.name}: EvalScope ended before its last answer", "its output is above; the same command asks this suite again")


@contextmanager
def _evalscope(asked: BenchmarkAsked) -> Iterator[Iterator[BenchmarkTold]]:
    """What it says, line by line. It ends with this process, or when nobody listens any more."""
    argv = (sys.executable, "-m", "entrypoint.run.benchmarks.put")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
        assert process.stdin and process.stdout
        try:
            process.stdin.write(asked.model_dump_json() + "\n")
            process.stdin.flush()
            yield _lines(process.stdout)
        finally:
            process.kill()


def _lines(stream: Iterator[str]) -> Iterator[BenchmarkTold]:
    for line in stream:
        try:
            yield BenchmarkTold.model_validate_json(line)
        except ValidationError:
            return
