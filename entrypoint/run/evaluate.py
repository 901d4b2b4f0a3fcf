"""Leaf of the stage evaluate: base and tuned model asked the same questions, and the report. `python -m entrypoint.run.evaluate TASK`."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from entrypoint.run.benchmarks.asking import ask_benchmark, look_at_benchmark
from entrypoint.run.endpoint import Endpoint
from entrypoint.run.evaluation import Told, check_answered, check_given_up, make_report, write_report, write_results
from entrypoint.run.events import Events, say
from entrypoint.run.leaf import run_leaf, versions
from entrypoint.run.lineage import curves, lineage, recorded
from entrypoint.run.loadable import load_tokenizer
from entrypoint.run.own_suite import Asked, ask_own
from entrypoint.run.seal import read_manifest
from entrypoint.run.sides_asked import Asking, dismiss
from entrypoint.run.suites.asking import read_suite, run_suite
from entrypoint.run.transfer import describe_seconds
from schemas.errors import Interrupted
from schemas.evaluate_job import EvaluateJob, SideTold
from schemas.evaluation import OWN, Side, SuiteResult
from schemas.job import Task
from schemas.manifest import Manifest, Sealed
from schemas.report import ANSWERS
from schemas.suite import SuiteJob

SIDES: tuple[Side, ...] = get_args(Side)
SHOW_SECONDS = 15.0
"""Between two lines about how far it is."""

AskSuite = Callable[[Endpoint, Side, SideTold, Callable[[int, int], None]], SuiteResult]


class EngineLost(Exception):
    """The engine that answered is not the one that answers now: the suite is asked again."""


def evaluate(task: Task, events: Events) -> dict[str, Any]:
    """Fill task.output with the answers, report.json and report.html. Raises StepFailed where too much stays without an answer."""
    assert isinstance(task.job, EvaluateJob)
    output, exported = Path(task.output), Path(task.inputs["exported"])
    asking = Asking(Path(task.job.control_folder), exported.name)
    _stop_at_once(asking.folder)
    suites = suites_of(task)
    start, engine, results = time.monotonic(), "", []
    for side in SIDES:
        found = {suite: earlier(output, suite, side) for suite in suites}
        for suite, ask in suites.items():
            result = found[suite]
            if result is None:
                result, engine = ask_side(asking, task.job, suite, side, ask)
                write_results(output, result)
                events.write("answered", stage="evaluate", suite=suite, side=side, questions=len(result.questions), seconds=result.seconds)
            else:
                say(f"  {side}: {suite}: answered before, {len(result.questions):,} questions")
            results.append(result)
    asking.close()
    report = make_report(results, told(task, engine))
    write_report(output, report)
    return {
        "seconds": round(time.monotonic() - start, 1), "suites": {result.suite: len(result.questions) for result in results},
        "unanswered": sum(question.ended == "none" for result in results for question in result.questions), "gate": {v.metric: v.passed for v in report.gate},
    }  # fmt: skip


def suites_of(task: Task) -> dict[str, AskSuite]:
    """How each suite is asked, by its name, in the order of the report."""
    job, prepared = task.job, Path(task.inputs["prepared"])
    assert isinstance(job, EvaluateJob)
    tokenizer = load_tokenizer(Path(task.inputs["exported"]))

    def decode(ids: list[int]) -> str:
        return str(tokenizer.decode(ids, skip_special_tokens=True))

    def own(endpoint: Endpoint, side: Side, served: SideTold, tell: Callable[[int, int], None]) -> SuiteResult:
        asked = Asked(kind=job.rows, raw=job.raw, limit=job.limit, seed=job.seed, requests=job.requests, length=served.length)
        return ask_own(prepared, decode, endpoint, side, asked, tell)

    return {OWN: own, **{suite.name: _asking(suite, Path(task.inputs["suites"])) for suite in job.suites}}


def _asking(suite: SuiteJob, rows: Path) -> AskSuite:
    """How a suite is asked. Raises UsageError for a row that is none, MachineError for a benchmark without its questions: before an engine is started."""
    if suite.kind == "benchmark":
        say(f"  {suite.name}: {look_at_benchmark(suite, rows):,} questions")
        return lambda endpoint, side, served, tell: ask_benchmark(suite, rows, endpoint, side, tell)
    read_suite(suite, rows)
    return lambda endpoint, side, served, tell: run_suite(suite, rows, endpoint, side, tell)


def earlier(output: Path, suite: str, side: Side) -> SuiteResult | None:
    """What an attempt before this one has of a suite and side."""
    try:
        return SuiteResult.model_validate_json((output / ANSWERS / f"{suite}.{side}.json").read_bytes())
    except (OSError, ValidationError):
        return None


def ask_side(asking: Asking, job: EvaluateJob, suite: str, side: Side, ask: AskSuite) -> tuple[SuiteResult, str]:
    """One suite of one side, from its first question on where the engine was lost; and what the engine is called."""
    while True:
        served = asking.want(side)
        endpoint = Endpoint(served.url, asking.key(), served.served_name, requests=job.requests)
        try:
            result = ask(endpoint, side, served, _progress(asking, served, suite, side, endpoint, job.most_unanswered))
        except EngineLost:
            say(f"  {side}: {suite}: the engine was lost, and all is asked again")
            continue
        finally:
            endpoint.close()
        if asking.is_still(served):
            return check_answered(result, job.most_unanswered), served.engine
        say(f"  {side}: {suite}: the engine was lost, and all is asked again")


def told(task: Task, engine: str) -> Told:
    """What the report says beside the results."""
    job, exported, trained = task.job, Path(task.inputs["exported"]), Path(task.inputs["trained"])
    assert isinstance(job, EvaluateJob)
    store, made, training = exported.parents[2], read_manifest(exported), read_manifest(trained)
    losses, validation_losses = curves(trained)
    # Relative to the store, as every other document names an artifact.
    chain = lineage(store, Sealed(exported.relative_to(store).as_posix(), made)) if made else ()
    return Told(
        name=task.name, export=exported.name, seed=job.seed, kind=str(made.job.get("kind", "")) if made else "", engine=engine or job.engine, gate=job.gate,
        losses=losses, validation_losses=validation_losses, training_metrics=recorded(trained, _kept(training)), chain=chain, versions=versions(),
    )  # fmt: skip


def _kept(training: Manifest | None) -> object:
    """The step whose weights training kept."""
    return training.summary.get("weights_of_step") if training else None


def _progress(asking: Asking, served: SideTold, suite: str, side: Side, endpoint: Endpoint, most: float) -> Callable[[int, int], None]:
    start = shown = time.monotonic()

    def tell(done: int, of: int) -> None:
        nonlocal shown
        if not asking.is_still(served):
            raise EngineLost
        check_given_up(suite, side, endpoint.given_up, of, most, endpoint.reason)
        now = time.monotonic()
        if done == of or now - shown > SHOW_SECONDS:
            shown = now
            left = "" if done == of else f", {describe_seconds((now - start) / done * (of - done))} to go"
            say(f"  {side}: {suite}: {done:,} of {of:,}{left}")

    return tell


def _stop_at_once(folder: Path) -> None:
    """What is answered is written already; what is not would take an engine minutes."""

    def stop(*_: object) -> None:
        dismiss(folder)
        print("caisson: evaluate was stopped\n    run the same command again: it asks what is still to be asked", file=sys.stderr, flush=True)
        os._exit(Interrupted.exit_code)

    signal.signal(signal.SIGTERM, stop)


if __name__ == "__main__":
    run_leaf(evaluate)
