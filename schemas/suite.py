"""Suites that an evaluation asks beside the run's own rows: benchmarks by name, and questions of the user's own."""

import difflib
from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from schemas.base import Auto, Many, Record, Section
from schemas.benchmarks import BENCHMARK_DATA, BENCHMARKS
from schemas.evaluation import OWN
from schemas.model import RowSource

FURTHER: dict[str, tuple[str, ...]] = {
    "choice": ("accuracy", "unreadable", "unfinished"),
    "questions": ("exact_match", "token_f1", "refusal", "repetition", "unfinished"),
    "benchmark": ("accuracy", "unfinished"),
}
"""What a suite of each kind measures."""


def check_benchmark(value: str) -> str:
    """Return the name of a benchmark unchanged, or name the nearest."""
    if value not in BENCHMARKS:
        close = difflib.get_close_matches(value.lower(), BENCHMARKS, 3)
        close.sort(key=lambda name: sorted(name) != sorted(value.lower()))  # letters that changed places are likelier than a wrong one
        fix = f"did you mean `{close[0]}`?" if close else f"known are {', '.join(BENCHMARKS)}; rows of your own: {{kind: questions, name: ..., source: ...}}"
        raise PydanticCustomError("benchmark", "`{name}` is no benchmark", {"name": value, "fix": fix})
    return value


def check_suite_name(value: str) -> str:
    """Return the name of a suite unchanged, or say what it would be taken for."""
    if value == OWN:
        raise PydanticCustomError("suite", "`own` is the suite of the validation rows", {"fix": "give it another name"})
    if value in BENCHMARKS:
        raise PydanticCustomError(
            "suite", "`{name}` is the name of a benchmark", {"name": value, "fix": f"write my_{value}, so that nobody takes one for the other"}
        )
    return value


SuiteName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_@-]{0,62}$"), AfterValidator(check_suite_name)]


class OwnRows(Section):
    """Rows of the user's own, asked as conversations of one question."""

    name: SuiteName
    """What the gate and the report call it; without dots."""

    source: RowSource
    """A file, a folder, a glob, hf://ORG/NAME or ms://ORG/NAME, with one question a row."""

    limit: Auto[Annotated[int, Field(ge=1)]] = None
    """Questions that are asked at most, drawn by the seed. auto: all."""

    max_tokens: Annotated[int, Field(ge=1, le=131_072)] = 256
    """Room for an answer."""


class ChoiceColumns(Section):
    """Names of the keys in the rows, where they have others."""

    question: Auto[str] = None
    """auto: question."""

    choices: Auto[str] = None
    """A list of texts. auto: choices."""

    answer: Auto[str] = None
    """The letter of the right choice, or its place from 0 on. auto: answer."""

    group: Auto[str] = None
    """Part of the suite that a row belongs to, such as a subject. auto: group, where a row has it."""


class QuestionColumns(Section):
    """Names of the keys in the rows, where they have others."""

    question: Auto[str] = None
    """auto: question."""

    answer: Auto[str] = None
    """What is expected. auto: answer."""

    group: Auto[str] = None
    """Part of the suite that a row belongs to. auto: group, where a row has it."""


class Choice(OwnRows):
    """Questions with choices, scored by the letter that the model answers."""

    kind: Literal["choice"]
    """choice: questions with two to twenty-six choices."""

    columns: ChoiceColumns = ChoiceColumns()
    """Names of the keys, where the rows have others than question, choices and answer."""


class Questions(OwnRows):
    """Questions with an answer in words."""

    kind: Literal["questions"]
    """questions: the answer is compared with the expected one."""

    columns: QuestionColumns = QuestionColumns()
    """Names of the keys, where the rows have others than question and answer."""

    metric: Literal["exact_match", "token_f1"] = "exact_match"
    """What the suite's score is: the same words, or the share of words that both have. The other is measured too."""


class Benchmark(Section):
    """A benchmark by its name, where more than the name is to be said."""

    kind: Literal["benchmark"]
    """benchmark: put and scored by EvalScope's adapter of that name."""

    name: Annotated[str, AfterValidator(check_benchmark)]
    """mmlu, ceval, cmmlu, gsm8k, bbh, truthful_qa, arc or hellaswag."""

    source: Auto[RowSource] = None
    """Its questions, as the data set has them: a folder, hf://ORG/NAME or ms://ORG/NAME. auto: /data/benchmarks/NAME."""

    subsets: Many[str] = ()
    """Parts of it, such as subjects. All where none is named."""

    limit: Auto[Annotated[int, Field(ge=1)]] = None
    """Questions of each part at most, the first ones, as EvalScope counts them. auto: all."""

    examples: Auto[Annotated[int, Field(ge=0, le=32)]] = None
    """Solved examples in front of each question. auto: as many as EvalScope puts there."""

    max_tokens: Annotated[int, Field(ge=1, le=131_072)] = 1024
    """Room for an answer with its reasoning."""


def _form(value: Any) -> str:
    return "section" if isinstance(value, dict | Section) else "name"


Suite = Annotated[
    Annotated[str, AfterValidator(check_benchmark), Tag("name")] | Annotated[Choice | Questions | Benchmark, Discriminator("kind"), Tag("section")],
    Discriminator(_form),
]
"""The name of a benchmark, or a mapping with `kind`."""


def name_of(suite: Any) -> str:
    """What the gate and the report call it."""
    return suite if isinstance(suite, str) else str(suite.name)


def source_of(suite: Choice | Questions | Benchmark) -> str:
    """Where its questions come from."""
    return suite.source or f"{BENCHMARK_DATA}/{suite.name}"


def check_named_once(value: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the list unchanged or name the suite that stands in it twice."""
    for name, times in Counter(name_of(suite) for suite in value).items():
        if times > 1:
            raise PydanticCustomError("twice", "names {name} twice", {"name": name})
    return value


Suites = Annotated[Many[Suite], AfterValidator(check_named_once)]


class SuiteJob(Record):
    """One suite, everything decided."""

    name: str
    kind: Literal["choice", "questions", "benchmark"]
    source: str
    """As the spec names it, for messages and the report."""

    path: str
    """Folder inside the artifact of the suites' rows."""

    columns: dict[str, str]
    """Key that the kind wants -> key that the rows have."""

    metric: str
    limit: int | None
    max_tokens: int
    seed: int
    requests: int
    """At once."""

    subsets: tuple[str, ...] = ()
    """Of a benchmark: parts; empty for all."""

    examples: int | None = None
    """Of a benchmark: in front of each question; None: EvalScope's own number."""
