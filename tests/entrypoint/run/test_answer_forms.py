"""Answers of another shape than the form has, and numbers that are none: each ends in words."""

import pytest

pytest.importorskip("numpy")

import numpy as np

from entrypoint.run.answer_forms import NEVER, Echo, PromptLogprobs, read_answer, texts_of
from schemas.errors import GateRefused

pytestmark = pytest.mark.image

FORM = PromptLogprobs()
AT = np.array([1, 2])
GOOD = {"5": {"logprob": -1.0}, "6": {"logprob": -2.0}}
ROW = [1, 5, 6]


class Known:
    """A vocabulary of ten tokens without texts."""

    def check(self, token, text):
        self.check_id(token)

    def may_be(self, token, text):
        return text == f"t{token}"

    def only_id(self, text):
        return int(text[1:])

    def check_id(self, token):
        if not 0 <= token < 10:
            raise GateRefused("no such token", "")


def read(place):
    return read_answer(FORM, {"prompt_logprobs": [None, place, GOOD]}, ROW, AT, 2, Known())


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("text", "says nothing about the prompt"),
        ({"5": {"logprob": None}, "6": {"logprob": -1}}, "says nothing about the prompt"),
        ({"5": {"logprob": 10**400}, "6": {"logprob": -1}}, "says nothing about the prompt"),
        ({"5": {"logprob": float("nan")}, "6": {"logprob": -1}}, "no log-probabilities"),
        ({"5": {"logprob": float("inf")}, "6": {"logprob": -1}}, "no log-probabilities"),
        ({"5": {"logprob": 0.5}, "6": {"logprob": -2}}, "no log-probabilities"),
        ({"5": {"logprob": -1}}, "an answer names 1"),
        ({"5": {"logprob": -1}, "05": {"logprob": -1.1}}, "names one token twice"),
        ({"5": {"logprob": -1}, "99999999999": {"logprob": -1.1}}, "no such token"),
        ({"5": {"logprob": -1}, "-1": {"logprob": -1.1}}, "no such token"),
    ],
)
def test_places_that_cannot_be_learned_from(place, words):
    with pytest.raises(GateRefused, match=words):
        read(place)


def test_a_probability_of_nothing_is_a_number():
    assert read({"5": {"logprob": float("-inf")}, "6": {"logprob": -1.0}}).logprobs[0].tolist() == [-1.0, NEVER]


@pytest.mark.parametrize("place", ["text", [1], 7, {"5": "text"}, {"five": {"decoded_token": "x"}}])
def test_texts_of_another_shape(place):
    with pytest.raises(GateRefused, match="an answer to prompt_logprobs has another shape"):
        texts_of(FORM, {"prompt_logprobs": [None, place]})


@pytest.mark.parametrize("row", [[1, 4, 6], [1, 5, 4]])
def test_an_answer_about_another_prompt_of_the_same_length(row):
    with pytest.raises(GateRefused, match="about another prompt than was sent: token"):
        read_answer(FORM, {"prompt_logprobs": [None, GOOD, GOOD]}, row, AT, 2, Known())


@pytest.mark.parametrize(
    ("tokens", "good"),
    [
        (["t1", "t5", "t6"], True),
        (["token_id:1", "token_id:5", "token_id:6"], True),
        (None, True),
        (["t1", "t5", "t7"], False),
        (["token_id:1", "token_id:4", "token_id:6"], False),
    ],
)
def test_echo_of_another_prompt(tokens, good):
    top = {"t5": -1.0, "t6": -2.0}
    choice = {"logprobs": {"tokens": tokens, "top_logprobs": [None, top, top]}}
    if good:
        assert read_answer(Echo(Known()), choice, ROW, AT, 2, Known()).ids.tolist() == [[5, 6], [5, 6]]
        return
    with pytest.raises(GateRefused, match="about another prompt"):
        read_answer(Echo(Known()), choice, ROW, AT, 2, Known())
