"""Suites of one's own rows, asked over HTTP of a server on loopback whose answers the test chooses."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from entrypoint.run import endpoint as endpoint_module
from entrypoint.run.endpoint import Endpoint
from entrypoint.run.suites.asking import read_suite, run_suite
from schemas.errors import UsageError
from schemas.evaluation import SuiteResult
from schemas.suite import SuiteJob

Say = Callable[[dict[str, Any]], Any]


@contextmanager
def serving(say: Say) -> Iterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    """A server that answers a body with what `say` makes of it, a status where that is a number; its address and what it was asked."""
    asked: list[tuple[str, dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.path, body))
            said = say(body)
            self.send_response(said if isinstance(said, int) else 200)
            self.end_headers()
            self.wfile.write(b"broken" if isinstance(said, int) else json.dumps(said).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        server.server_close()


def answer(text: str, ended: str = "stop") -> dict[str, Any]:
    return {"choices": [{"message": {"content": text}, "finish_reason": ended}], "usage": {"completion_tokens": 7}}


def job(kind: str = "questions", **changed: Any) -> SuiteJob:
    metric = {"questions": "exact_match", "choice": "accuracy"}[kind]
    columns = {"question": "question", "answer": "answer", "group": "group"} | ({"choices": "choices"} if kind == "choice" else {})
    usual = {
        "name": "mine",
        "kind": kind,
        "source": "/data/q.jsonl",
        "path": "00",
        "requests": 8,
        "columns": columns,
        "metric": metric,
        "limit": None,
        "max_tokens": 32,
        "seed": 17,
    }
    return SuiteJob.model_validate(usual | changed)


def write(folder: Path, rows: list[Any]) -> Path:
    (folder / "00").mkdir()
    (folder / "00" / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def ask(of: SuiteJob, folder: Path, say: Say) -> tuple[SuiteResult, list[tuple[str, dict[str, Any]]]]:
    with serving(say) as (url, asked):
        endpoint = Endpoint(url, None, "m", tries=2)
        try:
            return run_suite(of, folder, endpoint, "tuned"), asked
        finally:
            endpoint.close()


ROWS = [{"question": f"What is {n} and {n}?", "answer": f"It is {2 * n}."} for n in range(20)]


def right(body: dict[str, Any]) -> dict[str, Any]:
    number = int(body["messages"][0]["content"].split()[2])
    return answer(f"it is {2 * number}" if number % 2 else "It is a secret.")


def test_questions(tmp_path):
    result, asked = ask(job(), write(tmp_path, ROWS), right)
    assert [q.score for q in result.questions] == [float(n % 2) for n in range(20)]
    assert result.questions[0].scores["token_f1"] == pytest.approx(4 / 7)
    assert result.questions[1].scores["token_f1"] == 1.0
    assert {path for path, _ in asked} == {"/v1/chat/completions"}
    assert all((body["temperature"], body["max_tokens"], body["seed"], body["model"]) == (0, 32, 17, "m") for _, body in asked)
    assert (result.source, result.metric, result.questions[3].tokens, result.questions[3].ended) == ("q.jsonl", "exact_match", 7, "stop")


def test_the_other_metric_is_the_score_where_it_is_wished_for(tmp_path):
    result, _ = ask(job(metric="token_f1"), write(tmp_path, ROWS), right)
    assert result.questions[0].score == pytest.approx(4 / 7)
    assert result.questions[0].scores["exact_match"] == 0.0


def test_a_limit_draws_the_same_questions_for_every_model(tmp_path):
    folder = write(tmp_path, ROWS)
    one, other = (ask(job(limit=5), folder, say)[0] for say in (right, lambda body: answer("no")))
    assert [q.id for q in one.questions] == [q.id for q in other.questions]
    assert len(one.questions) == 5
    assert one.settings == other.settings and one.source_version == other.source_version
    assert list(read_suite(job(limit=5, seed=18), folder)) != list(read_suite(job(limit=5), folder))


CHOICES = [{"question": f"Berth {n}?", "choices": ["North", "South", "East"], "answer": given, "group": "berths"} for n, given in enumerate(["B", "b", 1, 0])]


def test_choices_are_put_with_letters_and_scored_by_the_letter(tmp_path):
    result, asked = ask(job("choice"), write(tmp_path, CHOICES), lambda body: answer("B. South", "length"))
    assert [q.score for q in result.questions] == [1.0, 1.0, 1.0, 0.0]
    assert result.questions[0].scores == {"unreadable": 0.0, "unfinished": 1.0}
    assert (result.questions[0].ended, result.questions[0].group) == ("cut", "berths")
    assert "A. North\nB. South\nC. East" in asked[0][1]["messages"][0]["content"]


def test_an_answer_without_a_letter_is_wrong_and_counted(tmp_path):
    result, _ = ask(job("choice"), write(tmp_path, CHOICES), lambda body: answer("South"))
    assert {(q.score, q.scores["unreadable"]) for q in result.questions} == {(0.0, 1.0)}


def test_what_has_no_answer_has_no_score(tmp_path, monkeypatch):
    monkeypatch.setattr(endpoint_module, "WAIT_SECONDS", 0.0)
    result, asked = ask(job(), write(tmp_path, ROWS[:3]), lambda body: 500 if "1 and 1" in body["messages"][0]["content"] else right(body))
    assert [q.score for q in result.questions] == [0.0, None, 0.0]
    assert "HTTP 500" in result.questions[1].error and result.retried == 1
    assert len(asked) == 4


@pytest.mark.parametrize("said", [{"choices": [{"text": "no chat"}]}, {"choices": [5]}, {"choices": [{"message": {"content": [1]}}]}])
def test_an_answer_of_another_form_is_none(tmp_path, said):
    result, _ = ask(job(), write(tmp_path, ROWS[:1]), lambda body: said)
    assert result.questions[0].error == "an answer without a message"


@pytest.mark.parametrize(
    "kind, row, said",
    [
        ("questions", {"qestion": "a", "answer": "b"}, r"q\.jsonl:1: has no `question`, it has `qestion`, `answer`\n.*did you mean `qestion`\?"),
        ("questions", {"question": "a", "answer": ["b"]}, r":1: `answer` must be a text, not a list"),
        ("questions", {"question": " ", "answer": "b"}, r":1: `question` must be a text, not an empty one"),
        ("questions", ["a", "b"], r":1: is no object"),
        ("choice", {"question": "a", "answer": "A"}, r"has no `choices`"),
        ("choice", {"question": "a", "choices": ["x"], "answer": "A"}, r"`choices` must be a list of 2 to 26 texts"),
        ("choice", {"question": "a", "choices": ["x", "y"], "answer": "C"}, r"`answer` is 'C', its choices are A to B"),
        ("choice", {"question": "a", "choices": ["x", "y"], "answer": 2}, r"`answer` is '2', its choices are A to B"),
        ("choice", {"question": "a", "choices": ["x", "y"], "answer": True}, r"`answer` is 'True'"),
    ],
)
def test_a_row_that_is_none_is_named_before_anything_is_asked(tmp_path, kind, row, said):
    good = {"questions": ROWS[0], "choice": CHOICES[0]}[kind]
    with pytest.raises(UsageError) as refused:
        read_suite(job(kind), write(tmp_path, [row, good]))
    assert f"{refused.value}".startswith("evaluate.suites: mine: /data/q.jsonl:1")
    assert refused.match(said.partition(r"\n")[0])


def test_a_broken_line_and_an_empty_file(tmp_path):
    folder = write(tmp_path, [])
    with pytest.raises(UsageError, match="holds no rows"):
        read_suite(job(), folder)
    (folder / "00" / "q.jsonl").write_text('{"question": \n')
    with pytest.raises(UsageError, match=r"q\.jsonl:1: not JSON"):
        read_suite(job(), folder)
