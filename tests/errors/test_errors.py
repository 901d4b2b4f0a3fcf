"""Every bad spec of the tables gets exactly the text beside it."""

import re
from pathlib import Path

import pytest
from table import Case, read_table, with_expected, write_table

from schemas.errors import SpecError
from schemas.load import load

TABLES = sorted(Path(__file__).parent.glob("*.txt"))
CASES = [pytest.param(case, id=f"{table.stem}: {case.title}") for table in TABLES for case in read_table(table)]

# What a user must never be shown: another library's wording, names of our own classes, values as Python writes them.
INTERNAL = re.compile(
    r"Input should|pydantic|ruamel|Traceback|validation error|tag:yaml|datetime|Node\(|\bNone\b|\bTrue\b|\bFalse\b|<class|object at|<block|<stream|<scalar"
)


def say(text: str) -> str:
    """What the program says of a bad spec."""
    with pytest.raises(SpecError) as caught:
        load(text)
    return str(caught.value)


@pytest.mark.parametrize("case", CASES)
def test_text(case: Case, update_golden: bool) -> None:
    said = say(case.text)
    if not update_golden:
        assert said == case.expected


def test_update(update_golden: bool) -> None:
    if update_golden:
        for table in TABLES:
            write_table(table, [with_expected(case, say(case.text)) for case in read_table(table)])


@pytest.mark.parametrize("case", CASES)
def test_places_and_words(case: Case) -> None:
    with pytest.raises(SpecError) as caught:
        load(case.text)
    problems = caught.value.problems
    marks = [(p.line, p.column) for p in problems]
    assert all(line and column for line, column in marks)
    assert marks == sorted(marks)
    assert len({str(p) for p in problems}) == len(problems)
    assert not INTERNAL.search(str(caught.value))
    lines = case.text.lstrip("\ufeff").splitlines() or [""]
    assert all(p.line <= len(lines) and p.column <= len(lines[p.line - 1]) + 1 for p in problems if p.line and p.column)


def test_there_are_many() -> None:
    titles = [case.values[0].title for case in CASES]
    assert len(titles) >= 75
    assert len(set(titles)) == len(titles)
