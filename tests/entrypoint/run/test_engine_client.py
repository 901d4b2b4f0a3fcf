"""What is made of an engine's answers, over real sockets; that a real engine answers so is seen in tests/entrypoint/run/test_serve.py."""

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from entrypoint.run.engine_client import EngineClient, EngineError

METRICS = """# HELP vllm:prompt_tokens_total Number of prefill tokens processed.
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{engine="0",model_name="n"} 17.0
vllm:prompt_tokens_total{engine="1",model_name="n"} 3.0
vllm:generation_tokens_total{engine="0",model_name="n"} 1.5e+01
vllm:prompt_tokens_created{engine="0",model_name="n"} 1.7e+09
vllm:cache_config_info{block_size="128",cache_dtype="auto",engine="0",num_gpu_blocks="364"} 1.0
python_gc_objects_collected_total{generation="0"} 9.0
"""


class Outside:
    """A server that answers each path with what it is told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str, str]] = {}
        self.asked: list[tuple[str, str | None, Any]] = []
        outside = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                outside.asked.append((f"{self.command} {self.path}", self.headers["Authorization"], body))
                status, kind, text = outside.answers.get(self.path, (404, "application/json", "{}"))
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def says(self, path: str, answer: Any, status: int = 200) -> None:
        text = isinstance(answer, str)
        self.answers[path] = (status, "text/plain" if text else "application/json", answer if text else json.dumps(answer))


@pytest.fixture
def outside() -> Iterator[Outside]:
    made = Outside()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def client(outside: Outside) -> EngineClient:
    return EngineClient(outside.server.server_address[1], "k", "n")


def test_counters(outside: Outside, client: EngineClient) -> None:
    outside.says("/metrics", METRICS)
    assert client.tokens(5) == 35.0
    assert client.capacity() == 128 * 364
    assert outside.asked[0] == ("GET /metrics", "Bearer k", None)


@pytest.mark.parametrize("text", ["", 'vllm:cache_config_info{num_gpu_blocks="None",block_size="16"} 1.0\n'])
def test_a_cache_that_is_not_said(outside: Outside, client: EngineClient, text: str) -> None:
    outside.says("/metrics", text)
    assert client.capacity() == 0


def test_tokens_of_a_conversation_with_a_call(outside: Outside, client: EngineClient) -> None:
    """Templates have the arguments of a call as an object, clients send them as text."""
    outside.says("/tokenize", {"tokens": [1, 2], "count": 2, "max_model_len": 9})
    call = {"type": "function", "function": {"name": "f", "arguments": {"ort": "Köln"}}}
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "", "tool_calls": [call]}]
    assert client.chat_ids(messages, [{"type": "function"}]) == [1, 2]
    sent = outside.asked[0][2]
    assert sent["messages"][1]["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"ort": "Köln"}'}
    assert sent["add_generation_prompt"] and sent["tools"] == [{"type": "function"}]
    assert call["function"]["arguments"] == {"ort": "Köln"}, "the golden prompt is left as it is"


def test_an_answer(outside: Outside, client: EngineClient) -> None:
    tops = [{"token_id:5": -0.1, "token_id:6": -2.5}, {"token_id:9": -4.0, "token_id:2": -0.5}]
    outside.says("/v1/completions", {"choices": [{"token_ids": [5, 2], "logprobs": {"token_logprobs": [-0.1, -0.5], "top_logprobs": tops}}]})
    said = client.answer([1, 2], 7)
    assert (said.ids, said.logprobs, said.margins) == ([5, 2], [-0.1, -0.5], [2.4, 3.5])
    sent = outside.asked[0][2]
    assert (sent["prompt"], sent["max_tokens"], sent["temperature"], sent["repetition_penalty"]) == ([1, 2], 7, 0.0, 1.0)


def test_an_ending(outside: Outside, client: EngineClient) -> None:
    outside.says("/v1/chat/completions", {"choices": [{"finish_reason": "stop"}], "usage": {"completion_tokens": 4}})
    ending = client.ending([{"role": "user", "content": "q"}], [], 20)
    assert (ending.reason, ending.tokens) == ("stop", 4)
    assert outside.asked[0][2]["max_tokens"] == 20


def test_the_canary_is_marked_for_the_log(outside: Outside, client: EngineClient) -> None:
    outside.says("/v1/completions?caisson-canary", {})
    client.canary([1], 5)
    assert outside.asked[0][2]["max_tokens"] == 1


@pytest.mark.parametrize(("status", "ready"), [(200, True), (503, False), (401, False)])
def test_health(outside: Outside, client: EngineClient, status: int, ready: bool) -> None:
    outside.says("/health", "", status)
    assert client.is_ready() == ready


def test_errors_say_what_was_asked_and_never_the_key(outside: Outside, client: EngineClient) -> None:
    outside.says("/v1/load_lora_adapter", {"error": "no such\n adapter"}, 404)
    with pytest.raises(EngineError) as caught:
        client.load_adapter("x", "/a", again=False)
    assert str(caught.value) == 'POST /v1/load_lora_adapter: HTTP 404: {"error": "no such\\n adapter"}'
    assert caught.value.status == 404


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert not EngineClient(free.getsockname()[1], "k", "n").is_ready()


def test_who_never_answers() -> None:
    """A process that was stopped by a signal still has its port open."""
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(EngineError, match="timed out"):
        EngineClient(silent.getsockname()[1], "k", "n").canary([1], 0.2)


def test_half_an_answer_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(EngineError):
            EngineClient(listening.getsockname()[1], "k", "n").models()
        thread.join()
