"""The gateway's own behaviour, with small servers in the place of engines; real clients and a real engine are in test_clients.py."""

import json
import re
import shutil
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import httpx
import pytest
from gateway import CONTROL, KEYS, Gateway, docker

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300), pytest.mark.skipif(not shutil.which("docker"), reason="needs Docker")]

CHAT = "/v1/chat/completions"
POSTS = (CHAT, "/v1/completions", "/v1/responses")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    made = Gateway(tmp_path_factory.mktemp("usual"))
    try:
        made.start()
        made.tell("ready", made.engine("one"))
        yield made
    finally:
        made.remove()


@pytest.fixture
def client(gateway: Gateway) -> Iterator[httpx.Client]:
    with gateway.client() as made:
        yield made


def error_of(answer: httpx.Response) -> dict[str, object]:
    """In OpenAI's form, whatever went wrong."""
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    found = answer.json()["error"]
    assert set(found) == {"message", "type", "param", "code"} and found["message"]
    return dict(found)


# -- who is let in, to what


@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer wrong", f"Basic {KEYS['alice']}", f"Bearer {KEYS['alice']}x", f"Bearer {KEYS['alice']} x"])
@pytest.mark.parametrize("path", ["/v1/models", "/nothing", "/invocations", "/metrics"])
def test_without_a_key_nothing_is_told(gateway: Gateway, given: str | None, path: str) -> None:
    with gateway.client(None) as bare:
        answer = bare.get(path, headers={"Authorization": given} if given is not None else {})
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert error_of(answer)["code"] == "invalid_api_key"


def test_every_key_of_the_file_is_let_in(gateway: Gateway) -> None:
    for name in KEYS:
        with gateway.client(name) as one:
            assert one.get("/v1/models").status_code == 200
            assert one.get("/v1/models", headers={"Authorization": f"bearer  {KEYS[name]}"}).status_code == 200


@pytest.mark.parametrize("path", POSTS)
def test_endpoints_and_their_methods(client: httpx.Client, path: str) -> None:
    assert client.post(path, json={}).json()["path"] == path
    for method in ("GET", "PUT", "DELETE", "HEAD", "OPTIONS"):
        answer = client.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert error_of(client.get(path))["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    "path",
    [
        "/", "/v1", "/v1/", "/v1/chat", "/v1/chat/completions/", "//v1/completions", "/v1//completions", "/V1/completions", "/tokenize", "/metrics",
        "/invocations", "/docs", "/openapi.json", "/inner/models", "/inner/health", "/v1/load_lora_adapter", "/v1/chat/completions/../../../tokenize",
        "/v1/models/../../tokenize", "/v1/models/%2e%2e/%2e%2e/tokenize", "/v1/completions%00", "/v1/completions;x", "/v1/responses/abc",
    ],
)  # fmt: skip
def test_everything_else_is_not_there(gateway: Gateway, path: str) -> None:
    """As it is written: an HTTP library would tidy the path up."""
    said = raw(gateway, f"POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEYS['alice']}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    assert re.match(r"HTTP/1\.1 (404|400) ", said), said
    assert json.loads(said.partition("\r\n\r\n")[2])["error"]["code"] in ("unknown_url", "bad_request")


def test_embeddings_are_refused_by_name(client: httpx.Client) -> None:
    answer = client.post("/v1/embeddings", json={"input": "a", "model": "m"})
    assert answer.status_code == 404 and "embeddings are not served here" in str(error_of(answer)["message"])


def test_one_model_by_its_name(client: httpx.Client) -> None:
    assert client.get("/v1/models/m").json() == {"id": "m", "object": "model"}
    assert client.get("/v1/models/team/m").json()["id"] == client.get("/v1/models/team%2Fm").json()["id"] == "team/m"
    answer = client.get('/v1/models/no"body')
    assert answer.status_code == 404 and error_of(answer)["code"] == "model_not_found"
    assert client.post("/v1/models/m").status_code == client.delete("/v1/models/m").status_code == 405


def test_the_engine_gets_the_control_key_and_no_other_header(client: httpx.Client) -> None:
    sent = {"Cookie": "a=b", "X-Forwarded-For": "6.6.6.6", "Accept-Encoding": "gzip", "Connection": "x-hop", "X-Hop": "1", "TE": "trailers", "Accept": "*/*"}
    told = client.post(CHAT + "?api_key=secret", json={}, headers=sent).json()
    assert told["path"] == CHAT, "the query stays outside"
    assert told["headers"] == {
        "host": "engine", "authorization": f"Bearer {CONTROL}", "content-type": "application/json", "accept": "*/*", "content-length": "2",
        "x-request-id": told["headers"]["x-request-id"],
    }  # fmt: skip


def test_the_engines_own_errors_pass(client: httpx.Client) -> None:
    for status in (400, 404, 422, 500):
        answer = client.post(CHAT, json={"status": status})
        assert (answer.status_code, answer.json()) == (status, {"error": {"message": "the engine's own"}})


def test_what_nginx_itself_refuses_is_in_openais_form(gateway: Gateway) -> None:
    key = f"Authorization: Bearer {KEYS['alice']}\r\nHost: a\r\nConnection: close\r\n"
    for status, text in (
        (400, f"POST {CHAT} HTTP/1.1\r\n{key}Transfer-Encoding: chunked\r\n\r\nzz\r\n{{}}\r\n0\r\n\r\n"),
        (501, f"POST {CHAT} HTTP/1.1\r\n{key}Transfer-Encoding: gzip\r\n\r\n{{}}"),
        (505, f"GET /v1/models HTTP/3.1\r\n{key}\r\n"),
        (412, f"GET /health HTTP/1.1\r\n{key}If-Unmodified-Since: Mon, 01 Jan 1990 00:00:00 GMT\r\n\r\n"),
        *((404, f"GET /v1/models/{name} HTTP/1.1\r\n{key}\r\n") for name in ("%ff", "a%25", "%25zz", "%C3%A9", "\xff")),
    ):
        said = raw(gateway, text)
        assert said.startswith(f"HTTP/1.1 {status} "), said
        assert set(json.loads(said.partition("\r\n\r\n")[2].encode("latin-1").decode("utf-8"))["error"]) == {"message", "type", "param", "code"}, said


def test_requests_that_could_be_read_in_two_ways(gateway: Gateway) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEYS['alice']}\r\n"
    smuggled = "GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n"
    for lines in (
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Content-Length: +5\r\n",
        "Content-Length : 5\r\n",
    ):
        said = raw(gateway, head + lines + "\r\n0\r\n\r\n" + smuggled)
        assert re.match(r"HTTP/1\.1 (400|501) ", said) and said.count("HTTP/1.1 ") == 1, (lines, said)
    chunked = raw(gateway, head + "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
    told = json.loads(chunked.partition("\r\n\r\n")[2])
    assert told["bytes"] == 2 and told["headers"]["content-length"] == "2" and "transfer-encoding" not in told["headers"]


def raw(gateway: Gateway, text: str) -> str:
    """What comes back for these bytes until the connection ends."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
        connection.sendall(text.encode("latin-1"))
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts).decode("latin-1")


# -- streams


def test_events_come_as_they_are_made(client: httpx.Client) -> None:
    seen = []
    with client.stream("POST", CHAT, json={"stream": 5, "every": 0.3}) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        seen = [(line, time.monotonic()) for line in answer.iter_lines() if line]
    assert [line for line, _ in seen] == [f"data: one {at}" for at in range(5)]
    gaps = [later[1] - earlier[1] for earlier, later in pairwise(seen)]
    assert min(gaps) > 0.15, f"held back: {gaps}"


def test_a_client_that_leaves_reaches_the_engine(gateway: Gateway, client: httpx.Client) -> None:
    container = gateway.engines[0]
    with client.stream("POST", CHAT, json={"stream": 200, "every": 0.05}) as answer:
        next(answer.iter_lines())
    end = time.monotonic() + 5
    while "cancelled" not in seen_by(container):
        assert time.monotonic() < end, "the engine goes on answering nobody"
        time.sleep(0.1)


def seen_by(engine: str) -> str:
    """What one of the small servers has seen."""
    ask = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:8001/seen').read().decode())"
    return docker("exec", engine, "/opt/caisson/venv/bin/python", "-c", ask)


# -- ids and the log


def test_request_ids_are_taken_or_made(client: httpx.Client) -> None:
    told = client.post(CHAT, json={}, headers={"X-Request-Id": "mine-1"})
    assert told.headers["x-request-id"] == told.json()["headers"]["x-request-id"] == "mine-1"
    made = client.post(CHAT, json={}, headers={"X-Request-Id": 'no"t fit'})
    assert re.fullmatch("[0-9a-f]{32}", made.headers["x-request-id"])
    assert made.json()["headers"]["x-request-id"] == made.headers["x-request-id"]
    with client.stream("POST", CHAT, json={"stream": 1, "every": 0}) as answer:
        assert len(answer.headers.get_list("x-request-id")) == 1


def test_the_log_says_who_and_what_and_holds_no_secret(gateway: Gateway, client: httpx.Client) -> None:
    client.post(CHAT + "?token=in-the-query", json={"prompt": "in-the-body"}, headers={"X-Request-Id": "logged-1", "User-Agent": 'a"b\\c'})
    with gateway.client(None) as bare:
        bare.get("/v1/models?x=in-the-query", headers={"Authorization": "Bearer a-wrong-key-in-a-header", "X-Request-Id": "logged-2"})
    # So that nginx has an error to write, with the request in it.
    client.post(CHAT + "?token=in-the-query", content=b"x" * (17 * 2**20))
    gateway.wait_for("logged-2")
    lines = {line["id"]: line for line in gateway.requests()}
    assert {k: lines["logged-1"][k] for k in ("key", "method", "path", "status", "engine_status")} == {
        "key": "alice", "method": "POST", "path": CHAT, "status": 200, "engine_status": "200",
    }  # fmt: skip
    assert lines["logged-1"]["agent"] == 'a"b\\c' and lines["logged-1"]["seconds"] >= 0
    assert (lines["logged-2"]["status"], lines["logged-2"]["key"]) == (401, "")
    log = gateway.log()
    assert "too large body" in log
    for secret in ("in-the-query", "in-the-body", "a-wrong-key", CONTROL, *KEYS.values()):
        assert secret not in log


def test_no_secret_in_an_argument_or_environment(gateway: Gateway) -> None:
    seen = docker("exec", gateway.name, "sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'", code=None) + docker(
        "inspect", gateway.name
    )
    assert "nginx: worker process" in seen
    for secret in (CONTROL, *KEYS.values()):
        assert secret not in seen


# -- health


def test_health_needs_no_key(gateway: Gateway) -> None:
    with gateway.client(None) as bare:
        assert bare.get("/health").json() == {"status": "alive"}
        assert bare.get("/health/ready").json() == {"status": "ready"}
        assert bare.get("/health/deep").json() == {"status": "ready", "generation": gateway.generation, "models": ["m"]}
        assert bare.head("/health").status_code == 200
        assert bare.post("/health").status_code == 405
        before = len(gateway.requests())
        bare.get("/health")
        assert len(gateway.requests()) == before, "asked every few seconds: not in the log"


# -- limits


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    made = Gateway(tmp_path_factory.mktemp("narrow"), "gateway: {max_body_mib: 1, requests_per_minute: 30, burst: 20, requests_at_once: 3}\n")
    try:
        made.start()
        made.tell("ready", made.engine("one"))
        yield made
    finally:
        made.remove()


def test_a_body_that_is_too_large(narrow: Gateway) -> None:
    with narrow.client() as client:
        assert client.post(CHAT, content=b"x" * 2**20).json()["bytes"] == 2**20
        answer = client.post(CHAT, content=b"x" * (2**20 + 1))
        assert answer.status_code == 413 and error_of(answer)["code"] == "request_too_large" and "1 MiB" in str(error_of(answer)["message"])
        answer = client.post(CHAT, content=iter([b"x" * 2**19] * 3))
        assert answer.status_code == 413, "also without a length"


def test_requests_at_once_are_counted_for_each_key(narrow: Gateway) -> None:
    with narrow.client() as alice, narrow.client("bob") as bob, ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(alice.post, CHAT, json={"sleep": 2}) for _ in range(3)]
        time.sleep(0.7)
        refused = alice.post(CHAT, json={})
        assert refused.status_code == 429 and error_of(refused)["code"] == "rate_limit_exceeded" and int(refused.headers["retry-after"]) == 2
        assert bob.post(CHAT, json={}).status_code == 200
        assert [one.result().status_code for one in waiting] == [200] * 3


def test_a_rate_is_of_each_key(narrow: Gateway) -> None:
    with narrow.client() as alice, narrow.client("bob") as bob:
        codes = [alice.post(CHAT, json={}).status_code for _ in range(30)]
        assert codes[0] == 200 and codes[-1] == 429 and set(codes) == {200, 429}
        assert bob.post(CHAT, json={}).status_code == 200
        time.sleep(2.1)
        assert alice.post(CHAT, json={}).status_code == 200, "one more each two seconds"


# -- metrics


def test_metrics_are_on_a_port_that_is_not_published(gateway: Gateway, client: httpx.Client) -> None:
    client.post(CHAT, json={})
    time.sleep(0.2)
    ask = "import urllib.request; print(urllib.request.urlopen('http://%s:9100/metrics').read().decode())"
    said = docker("exec", gateway.engines[0], "/opt/caisson/venv/bin/python", "-c", ask % gateway.name)
    assert re.search(r'caisson_gateway_requests_total\{endpoint="/v1/chat/completions",status="200",key="alice"\} \d+', said)
    assert "caisson_gateway_ready 1" in said
    ports = json.loads(docker("inspect", gateway.name))[0]["NetworkSettings"]["Ports"]
    assert [port for port, bound in ports.items() if bound] == ["8000/tcp"]
