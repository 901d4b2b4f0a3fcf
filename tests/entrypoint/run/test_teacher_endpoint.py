"""What is said of a server that does not do its part, and how long it is asked again; against a real one on loopback."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from entrypoint.run import teacher_endpoint
from entrypoint.run.teacher_endpoint import Declined, TeacherEndpoint, read_key
from schemas.answers_job import Reach
from schemas.errors import CaissonError, MachineError, StepFailed, UsageError

KEY = "sk-very-secret"


@contextmanager
def serving(*replies, key=None):
    """A server that gives these (status, text), one after the other, the last for ever; its address and what it was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            status, text = replies[min(len(asked), len(replies)) - 1]
            if key and self.headers["Authorization"] != f"Bearer {key}":
                status, text = 401, f"not {self.headers['Authorization']}"
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
        server.shutdown()


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(teacher_endpoint, "WAIT_SECONDS", 0.001)


@pytest.fixture
def endpoint():
    made = []

    def make(url, key_file="/nowhere"):
        made.append(TeacherEndpoint(Reach(url=url, key_file=str(key_file), requests=2), "large"))
        return made[-1]

    yield make
    for one in made:
        one.close()


@contextmanager
def dripping(pause):
    """A server whose answers have no end: a piece every `pause` seconds."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b" " * 4096)
                    time.sleep(pause)
            except OSError:
                pass  # the client has gone

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


GOOD = (200, json.dumps({"choices": [{"text": "x"}]}))


def test_a_request_says_what_is_wanted_and_leaves_nothing_to_chance(endpoint):
    with serving(GOOD) as (url, asked):
        assert endpoint(url).complete(prompt=[1, 2], prompt_logprobs=3) == {"text": "x"}
    assert asked == [{"model": "large", "max_tokens": 1, "temperature": 0, "prompt": [1, 2], "prompt_logprobs": 3}]


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_what_passes_is_waited_for(endpoint, status):
    with serving((status, "wait"), (status, "wait"), GOOD) as (url, asked):
        assert endpoint(url).complete(prompt=[1]) == {"text": "x"}
    assert len(asked) == 3


def test_what_does_not_pass_is_a_failed_step_that_goes_on_later(endpoint):
    with serving((503, json.dumps({"error": {"message": "loading"}}))) as (url, asked), pytest.raises(StepFailed) as found:
        endpoint(url).complete(prompt=[1])
    assert len(asked) == teacher_endpoint.TRIES
    assert "/completions does not answer (503: loading): tried 9 times" in found.value.what and "goes on where this one stopped" in str(found.value.fix)


def test_an_answer_that_never_ends_is_too_large(endpoint, monkeypatch):
    monkeypatch.setattr(teacher_endpoint, "ANSWER_BYTES", 2**20)
    with dripping(0) as url, pytest.raises(Declined, match="answers 200: more than 1 MiB"):
        endpoint(url).complete(prompt=[1])


def test_an_answer_that_drips_is_tried_again_and_then_is_a_failed_step(endpoint, monkeypatch):
    """Each piece comes in time: only the whole takes too long."""
    monkeypatch.setattr(teacher_endpoint, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(teacher_endpoint, "TRIES", 2)
    with dripping(0.02) as url, pytest.raises(StepFailed, match=r"ReadTimeout: no whole answer after 0 s\): tried 2 times"):
        endpoint(url).complete(prompt=[1])


def test_nobody_there(endpoint):
    with serving(GOOD) as (url, _):
        pass
    with pytest.raises(StepFailed, match="does not answer \\(ConnectError: "):
        endpoint(url).complete(prompt=[1])


def test_no_address(endpoint):
    with pytest.raises(UsageError, match=r"method\.endpoint: http://host:port/v1 is no address"):
        endpoint("http://host:port/v1").complete(prompt=[1])


def test_a_wait_is_given_up_at_the_end(endpoint, monkeypatch):
    monkeypatch.setattr(teacher_endpoint, "WAIT_SECONDS", 60.0)
    with serving((500, "")) as (url, _):
        asking = endpoint(url)
        threading.Timer(0.2, asking.end).start()
        start = time.monotonic()
        with pytest.raises(StepFailed):
            asking.complete(prompt=[1])
    assert time.monotonic() - start < 10


def test_the_key_is_sent_and_said_nowhere(endpoint, tmp_path, capfd):
    place = tmp_path / "key"
    place.write_text(f"{KEY}\n")
    with serving(GOOD, key=KEY) as (url, _):
        assert endpoint(url, place).complete(prompt=[1]) == {"text": "x"}
        with pytest.raises(MachineError, match="it wants a key, and /nowhere holds none"):
            endpoint(url).complete(prompt=[1])
        place.write_text("sk-other-secret")
        with pytest.raises(MachineError, match=f"the key in {place} is not valid there") as found:
            endpoint(url, place).complete(prompt=[1])
    assert "secret" not in str(found.value) + "".join(capfd.readouterr())


def test_a_server_that_sends_the_key_back(endpoint, tmp_path):
    place = tmp_path / "key"
    place.write_text(KEY)
    with serving((400, f"bad header Bearer {KEY}")) as (url, _), pytest.raises(Declined) as found:
        endpoint(url, place).complete(prompt=[1])
    assert KEY not in str(found.value) and "Bearer ..." in found.value.said


@pytest.mark.parametrize(
    ("status", "text", "kind", "said"),
    [
        (404, '{"error": {"message": "The model `large` does not exist."}}', UsageError, "answers 404: The model `large` does not exist."),
        (404, "<html>\nnot\nfound</html>", UsageError, "answers 404: <html> not found</html>"),
        (400, '{"object": "error", "message": "too long"}', Declined, "answers 400: too long"),
        (200, "<html>", Declined, "something else than a JSON object: <html>"),
        (200, "[]", Declined, "something else than a JSON object"),
        (200, '{"choices": []}', Declined, "an answer without choices"),
        (302, "", Declined, "answers 302"),
        (200, "[" * 100_000 + "]" * 100_000, Declined, "something else than a JSON object: [[["),
        (400, '{"message": "\\u001b[2J\\u0007 \\ud800"}', Declined, "answers 400: ?[2J? ?"),
    ],
)
def test_refusals_in_words(endpoint, status, text, kind, said):
    with serving((status, text)) as (url, asked), pytest.raises(CaissonError) as found:
        endpoint(url).complete(prompt=[1])
    assert isinstance(found.value, kind) and said in found.value.what and len(asked) == 1


def test_a_server_that_sends_on_is_not_followed(endpoint, monkeypatch):
    with serving((307, "")) as (there, elsewhere), serving((307, "")) as (url, asked):
        monkeypatch.setattr(BaseHTTPRequestHandler, "end_headers", _sending_on(there, BaseHTTPRequestHandler.end_headers))
        with pytest.raises(UsageError, match=f"/completions is sent on to {there}/completions\n"):
            endpoint(url).complete(prompt=[1])
    assert len(asked) == 1 and not elsewhere


def _sending_on(there, plain):
    def end_headers(self):
        self.send_header("Location", f"{there}/completions")
        plain(self)

    return end_headers


def test_key_files(tmp_path):
    place = tmp_path / "key"
    assert read_key(place) is None
    place.write_text("\n")
    assert read_key(place) is None
    place.write_text("two words")
    with pytest.raises(MachineError, match="holds something that is not a key"):
        read_key(place)
    with pytest.raises(MachineError, match="IsADirectoryError"):
        read_key(tmp_path)
