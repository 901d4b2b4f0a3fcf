"""Values of rows by their keys."""

import pytest

from entrypoint.run.suites.columns import column, group_of, text_of
from schemas.errors import UsageError


def test_a_key_that_is_not_there_names_the_nearest():
    with pytest.raises(UsageError) as refused:
        column({"frage": 1, "antwort": 2}, "antwor", "q.jsonl:3")
    assert "q.jsonl:3: has no `antwor`, it has `frage`, `antwort`" in str(refused.value)
    assert "did you mean `antwort`?" in str(refused.value)


def test_texts_and_groups():
    assert text_of({"a": "b"}, "a", "x") == "b"
    assert group_of({}, {"group": "group"}, "x") == ""
    with pytest.raises(UsageError, match="has no `subject`"):
        group_of({"group": "g"}, {"group": "subject"}, "x")
