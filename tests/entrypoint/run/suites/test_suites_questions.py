"""Questions with an answer in words."""

from entrypoint.run.suites.questions import put, scores_of

COLUMNS = {"question": "question", "answer": "answer", "group": "group"}


def test_a_number_may_be_the_answer():
    one = put({"question": "How many?", "answer": 9}, COLUMNS, "x")
    assert (one.prompt, one.expected) == ("How many?", "9")
    assert scores_of(one, "9.", False) == {"exact_match": 1.0, "token_f1": 1.0, "refusal": 0.0, "repetition": 0.0, "unfinished": 0.0}


def test_a_refusal_is_one_where_none_was_expected():
    one = put({"question": "How many?", "answer": "nine"}, COLUMNS, "x")
    assert scores_of(one, "I'm sorry, I can't say.", True)["refusal"] == 1.0
