"""What an evaluation found: the answers of a suite, which its leaf writes, and the numbers that are worked out of them."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Record

OWN = "own"
"""The suite that every evaluation has: the run's validation rows."""

MAX_TEXT = 4_000
"""Characters that are kept of a prompt, an answer and what was expected: a page with forty of each must stay readable."""

Side = Literal["base", "tuned"]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_@-]{0,62}$")]
"""Of a suite or a metric; without dots, since a gate writes SUITE.METRIC."""


class Question(Record):
    """One question and what a model said to it."""

    id: Annotated[str, Field(min_length=1, max_length=200)]
    """The same for base and tuned model, and unlike any other of the suite."""

    group: Annotated[str, Field(max_length=200)] = ""
    """Part of the suite that it belongs to, such as a subject."""

    prompt: str
    """As `excerpt` gives it; the same holds for the other texts."""

    answer: str = ""
    expected: str = ""
    score: Share | None
    """Of the suite's metric; None: there is no answer, and `error` says why."""

    scores: dict[Name, Number] = {}
    """Of further metrics."""

    tokens: Count | None = None
    """Of the answer; None: the endpoint did not say."""

    ended: Literal["stop", "cut", "none"]
    """stop: by itself. cut: the room for it was full. none: it did not come."""

    seconds: Positive | None = None
    error: str = ""
    note: str = ""
    """What a judge or a checker gave as its reason."""

    @model_validator(mode="after")
    def _is_answered_or_says_why(self) -> "Question":
        if (self.score is None) != bool(self.error):
            raise PydanticCustomError("question", "a question has a score or an error, and not both")
        return self


class SuiteResult(Record):
    """One suite, asked of one model."""

    version: Literal[1] = 1
    suite: Name
    """As the spec, the gate and the report call it."""

    kind: Literal["benchmark", "choice", "questions", "judged", "code", "validation"]
    source: str
    """Where its questions come from, as the spec names it; without a path of the machine."""

    source_version: str = ""
    """Revision of a hub, or digest of the files."""

    side: Side
    served_name: str
    """The model name that was asked for."""

    metric: Name
    """What `score` measures."""

    higher_is_better: bool = True
    tool: str
    """Name and version of what put the questions and scored the answers."""

    settings: dict[str, Any] = {}
    """What decides the answers: temperature, most tokens, examples in the prompt, limit, seed, the judge. Both sides have to have the same."""

    questions: tuple[Question, ...]
    missing: dict[Name, str] = {}
    """Metrics that could not be measured, each with why."""

    retried: Count = 0
    """Requests that were sent again."""

    seconds: Positive
    """From the first question to the last answer."""

    @model_validator(mode="after")
    def _questions_differ(self) -> "SuiteResult":
        if len({question.id for question in self.questions}) != len(self.questions):
            raise PydanticCustomError("questions", "two questions have one id")
        return self


class Estimate(Record):
    """A number, and where it lies with 95% confidence."""

    value: Number
    low: Number | None = None
    """None: nobody can say, as of a single number without questions."""

    high: Number | None = None


class Score(Record):
    """One metric of one suite: the base, the tuned model, and the difference."""

    metric: str
    """As a gate names it: SUITE for the suite's own metric, SUITE.METRIC for another."""

    also: str = ""
    """Another name that a gate may use for it: SUITE.METRIC for the suite's own."""

    called: str
    """What it measures, in a few words."""

    share: bool = True
    """Whether it goes from 0 to 1 and is shown in percent."""

    higher_is_better: bool | None = True
    """None: neither."""

    base: Estimate | None = None
    tuned: Estimate | None = None
    difference: Estimate | None = None
    """Tuned less base, over the questions that both have a score of, paired."""

    questions: Count = 0
    """That both have a score of; of one side where only that was asked."""

    better: Count = 0
    """Questions that the tuned model answers better."""

    worse: Count = 0
    """Those that it answers worse: what was forgotten."""

    why: str = ""
    """Where there is no number: why."""


class Load(Record):
    """How fast the endpoint is with so many requests at once."""

    side: Side = "tuned"
    concurrency: Annotated[int, Field(ge=1)]
    requests: Count
    failed: Count = 0
    prompt_tokens: Positive
    """Mean of a request."""

    answer_tokens: Positive
    first_token_seconds: dict[Literal["mean", "p50", "p95", "p99"], Positive] = {}
    """Time to first token."""

    token_seconds: dict[Literal["mean", "p50", "p95", "p99"], Positive] = {}
    """Between two tokens of an answer."""

    request_seconds: dict[Literal["mean", "p50", "p95", "p99"], Positive] = {}
    requests_per_second: Positive
    tokens_per_second: Positive
    """Of answers, over all requests."""

    tool: str = ""


class Verdict(Record):
    """What came of one condition of the gate."""

    metric: str
    condition: str
    """As the spec has it."""

    passed: bool
    value: Number | None = None
    """Of the tuned model; None: there is none, and `why` says so."""

    bound: Number | None = None
    """What it was compared with, worked out."""

    certain: bool = True
    """Whether the whole interval says the same; False: with other questions of the kind it could have come out otherwise."""

    why: str = ""


def excerpt(text: str, most: int = MAX_TEXT) -> str:
    """The text, or its beginning and its end with the number of characters left out between them; what no UTF-8 file can hold is replaced."""
    clean = text.encode("utf-8", "replace").decode("utf-8")
    if len(clean) <= most:
        return clean
    head, tail = most * 3 // 4, most // 4
    return f"{clean[:head]} [... {len(clean) - head - tail:,} characters ...] {clean[-tail:]}"
