"""What an evaluation does with a server that does not do its part; against a real one on loopback."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from entrypoint.run import endpoint as module
from entrypoint.run.endpoint import Endpoint, Unanswered

KEY = "sk-very-secret"
GOOD = (200, json.dumps({"choices": [{"text": "nine"}]}))


@contextmanager
def serving(*replies: tuple[int, str], slow: float = 0.0) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that gives these (status, text), one after the other, the last for ever; its address and what it was asked."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))) | {"key": self.headers["Authorization"]})
            status, text = replies[min(len(asked), len(replies)) - 1]
            self.send_response(status)
            self.end_headers()
            try:
                for sign in text if slow else [text]:
                    time.sleep(slow)
                    self.wfile.write(sign.encode())
                    self.wfile.flush()
            except OSError:
                pass  # the client has gone

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
        server.shutdown()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.001)


@pytest.fixture
def open_endpoint() -> Iterator[Any]:
    made: list[Endpoint] = []

    def make(url: str, **given: Any) -> Endpoint:
        made.append(Endpoint(url, KEY, "n", requests=2, **given))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_an_answer(open_endpoint: Any) -> None:
    with serving(GOOD) as (url, asked):
        assert open_endpoint(url).complete(prompt=[1, 2], max_tokens=3)["choices"][0]["text"] == "nine"
    assert asked == [{"model": "n", "prompt": [1, 2], "max_tokens": 3, "key": f"Bearer {KEY}"}]


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
def test_trouble_is_tried_again_and_counted(open_endpoint: Any, status: int) -> None:
    with serving((status, "busy"), (status, "busy"), GOOD) as (url, asked):
        endpoint = open_endpoint(url)
        assert endpoint.complete(prompt=[1])["choices"]
        assert (endpoint.retried, len(asked)) == (2, 3)


def test_not_for_ever(open_endpoint: Any) -> None:
    with serving((500, "out of\norder \x1b[2J")) as (url, asked):
        endpoint = open_endpoint(url)
        with pytest.raises(Unanswered) as caught:
            endpoint.complete(prompt=[1])
        assert (caught.value.status, caught.value.what, len(asked), endpoint.retried) == (500, "HTTP 500: out of order ?[2J", module.TRIES, module.TRIES - 1)


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_a_refusal_is_not_asked_again(open_endpoint: Any, status: int) -> None:
    with serving((status, f"no: {KEY}")) as (url, asked):
        with pytest.raises(Unanswered) as caught:
            open_endpoint(url).complete(prompt=[1])
        assert (caught.value.what, len(asked)) == (f"HTTP {status}: no: ...", 1), "the key is in no message"


@pytest.mark.parametrize("text", ["", "<html>", "[]", "{}", '{"choices": []}', '{"choices": "x"}'])
def test_what_is_no_answer(open_endpoint: Any, text: str) -> None:
    with serving((200, text)) as (url, _), pytest.raises(Unanswered, match="an answer without choices"):
        open_endpoint(url).complete(prompt=[1])


def test_one_that_hangs(open_endpoint: Any) -> None:
    """A byte now and then resets what an HTTP client waits for."""
    with serving((200, "x" * 500), slow=0.02) as (url, _):
        start = time.monotonic()
        with pytest.raises(Unanswered, match="no whole answer"):
            open_endpoint(url, answer_seconds=0.2, tries=2).complete(prompt=[1])
        assert time.monotonic() - start < 5


def test_nobody_there(open_endpoint: Any) -> None:
    with serving(GOOD) as (url, _):
        pass
    with pytest.raises(Unanswered, match="ConnectError") as caught:
        open_endpoint(url, tries=2).complete(prompt=[1])
    assert caught.value.status == 0
