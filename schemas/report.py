"""The report of an evaluation, which everything behind it reads: the terminal, the page, the gate before promotion."""

from typing import Any, Literal

from schemas.base import Record
from schemas.chain_link import Link
from schemas.evaluation import Count, Load, Name, Number, Positive, Question, Score, Side, Verdict

REPORT = "report.json"
PAGE = "report.html"
ANSWERS = "answers"
"""Folder of an evaluation's artifact with a SuiteResult for each suite and side: answers/SUITE.SIDE.json."""


class Pair(Record):
    """One question, side by side."""

    suite: Name
    id: str
    prompt: str
    expected: str = ""
    base: Question | None = None
    tuned: Question | None = None


class SuiteRun(Record):
    """What was run of one suite, for people: its settings and what went wrong."""

    suite: Name
    kind: str
    source: str
    source_version: str = ""
    metric: Name
    tool: str
    settings: dict[str, Any] = {}
    served: dict[Side, str] = {}
    questions: dict[Side, Count] = {}
    failed: dict[Side, Count] = {}
    """Questions without an answer."""

    retried: dict[Side, Count] = {}
    seconds: dict[Side, Positive] = {}


class GroupScore(Record):
    """The mean of one part of a suite."""

    suite: Name
    group: str
    questions: Count
    base: Number | None = None
    tuned: Number | None = None


class Report(Record):
    """evals/ID/report.json."""

    version: Literal[1] = 1
    name: str
    """Of the run."""

    export: str
    """Name of the folder below NAME/exports that was asked."""

    kind: str = ""
    """Its form, such as safetensors or awq."""

    made_at: str
    """ISO 8601, UTC."""

    engine: str = ""
    seed: int
    """Of the resampling that the intervals come from."""

    suites: tuple[SuiteRun, ...] = ()
    scores: tuple[Score, ...] = ()
    groups: tuple[GroupScore, ...] = ()
    worst: tuple[Pair, ...] = ()
    """The tuned model's lowest scores."""

    changed: tuple[Pair, ...] = ()
    """Where the two answers differ most, what got worse first."""

    loads: tuple[Load, ...] = ()
    gate: tuple[Verdict, ...] = ()
    losses: tuple[tuple[int, Number], ...] = ()
    """Training loss by step, thinned out."""

    validation_losses: tuple[tuple[int, Number], ...] = ()
    training_metrics: dict[str, Number] = {}
    """What training recorded at the validation of the weights that it kept, as a method names it, such as rewards/accuracies."""

    chain: tuple[Link, ...] = ()
    """From the rows to the export, oldest first."""

    versions: dict[str, str] = {}
    warnings: tuple[str, ...] = ()
    """What a reader has to know before believing a number."""

    @property
    def passed(self) -> bool:
        """Whether every condition of the gate holds; also where there is none."""
        return all(verdict.passed for verdict in self.gate)
