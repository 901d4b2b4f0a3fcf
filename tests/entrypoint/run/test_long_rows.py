"""Rows over the limit: the end token stays, and nothing is lost but what is said."""

import pytest

pytest.importorskip("numpy")

import numpy as np

from entrypoint.run.long_rows import has_end, split_tokens, split_turns, truncate
from entrypoint.run.template import Encoded

pytestmark = pytest.mark.image

END = 99
STOPS = frozenset({END})


def row(ids, learned):
    return Encoded(np.array(ids, dtype=np.int32), np.array(learned, dtype=np.uint8))


TALK = row([1, 2, 3, END, 4, 5, 6, 7, END, 8], [0, 0, 1, 1, 0, 0, 1, 1, 1, 0])
CUTS = {
    10: ([1, 2, 3, END, 4, 5, 6, 7, END, 8], [0, 0, 1, 1, 0, 0, 1, 1, 1, 0]),
    9: ([1, 2, 3, END, 4, 5, 6, 7, END], [0, 0, 1, 1, 0, 0, 1, 1, 1]),
    8: ([1, 2, 3, END, 4, 5, 6, END], [0, 0, 1, 1, 0, 0, 1, 1]),
    7: ([1, 2, 3, END], [0, 0, 1, 1]),  # the second answer would have no token but its end
    6: ([1, 2, 3, END], [0, 0, 1, 1]),
    4: ([1, 2, 3, END], [0, 0, 1, 1]),
}


@pytest.mark.parametrize("limit", CUTS)
def test_cut(limit):
    cut = truncate(TALK, limit, STOPS)
    assert (cut.ids.tolist(), cut.supervised.tolist()) == CUTS[limit]
    assert has_end(cut.ids, cut.supervised, STOPS)


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_no_answer_left(limit):
    assert truncate(TALK, limit, STOPS) is None


def test_text_is_cut_before_its_end_token():
    cut = truncate(row([1, 2, 3, 4, END], [1] * 5), 3, STOPS)
    assert (cut.ids.tolist(), cut.supervised.tolist()) == ([1, 2, END], [1, 1, 1])


def test_pieces_are_the_whole():
    pieces = split_tokens(row(range(10), [1] * 10), 4)
    assert [p.ids.tolist() for p in pieces] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def turns(text):
    roles = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    return tuple({"role": roles[letter], "content": str(at)} for at, letter in enumerate(text))


@pytest.mark.parametrize(
    ("given", "most", "expected"),
    [
        ("suauaua", 5, ["suaua", "sua"]),
        ("suauaua", 3, ["sua", "sua", "sua"]),
        ("uauaua", 4, ["uaua", "ua"]),
        ("uatauaua", 4, ["uata", "uaua"]),  # a call stays with its answer
        ("auaua", 3, ["aua", "ua"]),
        ("uuaua", 3, ["uua", "ua"]),
        ("uauau", 2, ["ua", "ua"]),  # a question without an answer teaches nothing
        ("suaua", 2, None),
    ],
)
def test_conversations_are_split_between_exchanges(given, most, expected):
    pieces = split_turns(turns(given), lambda messages: len(messages) <= most)
    letters = None if pieces is None else ["".join(m["role"][0] if m["role"] != "tool" else "t" for m in piece) for piece in pieces]
    assert letters == expected
