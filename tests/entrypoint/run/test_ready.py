"""Ready when /health answers 200, and at no other time."""

import http.server
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from entrypoint.run import ready

ROOT = Path(__file__).resolve().parents[3]


@contextmanager
def server(status: int | None) -> Iterator[tuple[int, list[str]]]:
    """A port whose /health answers with this status, or not at all; and what was asked."""
    asked: list[str] = []
    stop = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if status is None:
                stop.wait(10)
                return
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield listening.server_address[1], asked
        finally:
            stop.set()
            listening.shutdown()
            thread.join()


def test_ready() -> None:
    with server(200) as (port, asked):
        assert ready.main(port) == 0
        assert asked == ["/health"]


@pytest.mark.parametrize("status", [204, 400, 404, 500, 503])
def test_not_ready(status: int) -> None:
    with server(status) as (port, _):
        assert ready.main(port) == 1


def test_no_one_listens(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert ready.main(free.getsockname()[1]) == 1
    assert capsys.readouterr().out.startswith("not ready: ")


def test_an_engine_that_hangs_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "TIMEOUT_SECONDS", 0.1)
    with server(None) as (port, _):
        assert ready.main(port) == 1


def test_what_speaks_no_http_is_not_ready() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-x\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert ready.main(listening.getsockname()[1]) == 1
        thread.join()


def test_timeout_is_below_compose_s() -> None:
    """Compose gives the check 5 s; one that it has to kill says nothing."""
    assert ready.TIMEOUT_SECONDS < 5


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_as_compose_starts_it(status: int, code: int) -> None:
    with server(status) as (port, _):
        said = subprocess.run([sys.executable, "-m", "entrypoint.run.ready", str(port)], cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == code
    assert said.stderr == ""
