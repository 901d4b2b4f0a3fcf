"""Results of suites -> the report of an evaluation, as JSON and as a page."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from entrypoint.run.report_page import page
from entrypoint.run.scores import Suite, changed, suites_of, worst
from entrypoint.run.seal import write_durably
from schemas.chain_link import Link
from schemas.errors import GateRefused, StepFailed
from schemas.evaluation import Load, Score, SuiteResult
from schemas.gate import judge
from schemas.report import ANSWERS, PAGE, REPORT, Report

FEW = 30
"""Questions: with fewer an interval is wide, and resampling is itself uncertain."""


@dataclass(frozen=True)
class Told:
    """What a report says beside the results."""

    name: str
    export: str
    """Name of the folder below NAME/exports."""

    seed: int
    kind: str = ""
    engine: str = ""
    gate: dict[str, str] | None = None
    loads: tuple[Load, ...] = ()
    losses: tuple[tuple[int, float], ...] = ()
    validation_losses: tuple[tuple[int, float], ...] = ()
    training_metrics: dict[str, float] | None = None
    chain: tuple[Link, ...] = ()
    versions: dict[str, str] | None = None
    warnings: tuple[str, ...] = ()


def make_report(results: Sequence[SuiteResult], told: Told, made_at: str = "") -> Report:
    """Scores with intervals, verdicts of the gate, and the answers to look at."""
    suites = suites_of(results)
    scores = tuple(score for suite in suites for score in suite.scores(told.seed))
    return Report(
        name=told.name, export=told.export, kind=told.kind, made_at=made_at or datetime.now(UTC).isoformat(timespec="seconds"), engine=told.engine, seed=told.seed,
        suites=tuple(suite.run() for suite in suites), scores=scores, groups=tuple(group for suite in suites for group in suite.groups()),
        worst=worst(suites), changed=changed(suites), loads=told.loads, gate=judge(told.gate or {}, scores), losses=told.losses,
        validation_losses=told.validation_losses, training_metrics=told.training_metrics or {}, chain=told.chain, versions=told.versions or {}, warnings=(*told.warnings, *warnings(suites, scores)),
    )  # fmt: skip


def warnings(suites: Sequence[Suite], scores: Sequence[Score]) -> tuple[str, ...]:
    """What has to be known before a number is believed."""
    found = []
    for run in (suite.run() for suite in suites):
        failed = {side: count for side, count in run.failed.items() if count}
        found += [f"{run.suite}: {count:,} of {run.questions[side]:,} questions have no answer of the {side} model" for side, count in failed.items()]
    few = [score.metric for score in scores if score.also and 0 < score.questions < FEW]
    found += [f"{metric}: fewer than {FEW} questions: such a number says little" for metric in few]
    return tuple(found)


SEE_TO_ENGINE = "see to the engine: `docker compose logs sides`; the same command asks this suite again and keeps what is answered"


def check_answered(result: SuiteResult, most: float) -> SuiteResult:
    """The result, where enough of it is answered. Raises StepFailed with the commonest reason, and GateRefused for a suite without a question."""
    count = len(result.questions)
    if not count:
        raise GateRefused(f"evaluate: {result.suite} has no question: prepare kept no validation row that can be asked", "keep more rows: data.validation")
    missing = [question.error for question in result.questions if question.ended == "none"]
    if len(missing) > most * count:
        why, times = Counter(missing).most_common(1)[0]
        raise StepFailed(
            f"evaluate: {result.suite}: {len(missing):,} of {count:,} questions have no answer of the {result.side} model, {most:.0%} may be missing; "
            f"{times:,} times: {why}",
            SEE_TO_ENGINE,
        )
    return result


def check_given_up(suite: str, side: str, given_up: int, count: int, most: float, reason: str) -> None:
    """Raise StepFailed as soon as more requests failed than questions may stay without an answer: four tries of each of the others would not mend it."""
    if given_up > most * count:
        raise StepFailed(
            f"evaluate: {suite}: {given_up:,} requests to the {side} model failed in all their tries, and of {count:,} questions {most:.0%} may stay without an "
            f"answer; the last one: {reason}",
            SEE_TO_ENGINE,
        )


def write_results(folder: Path, result: SuiteResult) -> Path:
    """Every answer of one suite and side, durably, for those who want to look on."""
    (folder / ANSWERS).mkdir(parents=True, exist_ok=True)
    path = folder / ANSWERS / f"{result.suite}.{result.side}.json"
    write_durably(path, result.model_dump_json(indent=1) + "\n")
    return path


def write_report(folder: Path, report: Report) -> None:
    """report.json and report.html."""
    write_durably(folder / REPORT, report.model_dump_json(indent=1) + "\n")
    write_durably(folder / PAGE, page(report))
