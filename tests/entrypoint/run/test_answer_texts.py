"""What an answer's text tells."""

import pytest

from entrypoint.run.answer_texts import exact_match, refuses, repeats, token_f1


@pytest.mark.parametrize(
    ("answer", "expected", "same"),
    [
        ("Nine metres.", "nine  metres", 1),
        (" ＮＩＮＥ metres!", "Nine metres", 1),
        ("九米。", "九米", 1),
        ("Straße", "STRASSE", 1),
        ("Nine metres, I think", "Nine metres", 0),
        ("", "Nine metres", 0),
        ("", "", 1),
        ("3.5", "35", 0),
    ],
)
def test_exact_match(answer: str, expected: str, same: float) -> None:
    assert exact_match(answer, expected) == same


@pytest.mark.parametrize(
    ("answer", "expected", "f1"),
    [
        ("nine metres", "Nine metres.", 1),
        ("it is nine metres deep", "nine metres", 4 / 7),
        ("nine nine nine", "nine", 0.5),
        ("ten feet", "nine metres", 0),
        ("", "nine", 0),
        ("...", "!", 1),
        ("水深九米", "九米", 4 / 6),
    ],
)
def test_token_f1(answer: str, expected: str, f1: float) -> None:
    assert token_f1(answer, expected) == pytest.approx(f1)


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't help with that.", "I’m sorry, but I cannot assist.", "Sorry, I won't do that.", "I cannot provide this.",
        "As an AI language model, I am unable to say.", "I'm unable to answer.", "Unfortunately, I can't say.", "抱歉，我无法回答这个问题。", "对不起,我不能这样做",
    ],
)  # fmt: skip
def test_refusals(answer: str) -> None:
    assert refuses(answer)


@pytest.mark.parametrize(
    "answer", ["Nine metres.", "The harbour master says: I cannot swim.", "Sorry is a word of five letters.", "I can help with that.", "我能帮您", ""]
)
def test_no_refusals(answer: str) -> None:
    assert not refuses(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "It is nine. " + "It is nine metres deep. " * 8, "a" * 40, "Depth: " + "9, " * 20, "水深九米。" * 8,
        " ".join(f"the tide comes in and the tide goes out, day {number}." for number in range(30)),
    ],
)  # fmt: skip
def test_repetition(answer: str) -> None:
    assert repeats(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "", "no no no", "Nine metres at low tide, eleven at high tide.", "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20",
        "The harbour of Port Ossley lies on the eastern shore. Ships of up to nine metres enter at any tide; larger ones wait for the pilot, who comes aboard "
        "at the outer buoy and leaves at the quay. In winter the lock is closed on Sundays, and in a north wind above force eight nobody sails.",
    ],
)  # fmt: skip
def test_no_repetition(answer: str) -> None:
    assert not repeats(answer)
