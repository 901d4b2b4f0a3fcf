"""Which letter an answer names."""

import pytest

from entrypoint.run.suites.choice import letter_in


@pytest.mark.parametrize(
    "text, letter",
    [
        ("B", "B"), ("b", "B"), ("B.", "B"), ("(B) South", "B"), ("**B**", "B"), ("B: South", "B"), ("The answer is B.", "B"), ("Answer: B", "B"),
        ("The right choice is (b), since A is wrong", "B"), ("答案是B。", "B"), ("答案：B", "B"), ("A is right", None), ("A. is right", "A"), ("A dog", None),
        ("I think the answer is C", "C"), ("South", None), ("", None), ("Z", None), ("Because", None), ("It is option A at first, but the answer is B", "B"),
    ],
)  # fmt: skip
def test_letter(text: str, letter: str | None) -> None:
    assert letter_in(text, "ABC") == letter
