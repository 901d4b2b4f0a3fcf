"""Only the OpenAI endpoints with a user's or the gateway's key, control endpoints with the supervisor's alone, and never a hint of which part was wrong."""

import asyncio
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from entrypoint.run.door import Door, install_keys, read_keys
from schemas.errors import MachineError

KEYED = [("GET", "/v1/models"), ("POST", "/v1/chat/completions"), ("POST", "/v1/completions"), ("POST", "/v1/responses")]
CONTROL = [("GET", "/health"), ("GET", "/metrics"), ("POST", "/tokenize"), ("POST", "/v1/load_lora_adapter"), ("POST", "/v1/unload_lora_adapter")]


def digests(*keys: str) -> list[bytes]:
    return [hashlib.sha256(key.encode()).digest() for key in keys]


@pytest.fixture(autouse=True)
def keys() -> Iterator[None]:
    install_keys(digests("first-key", "second-key"), digests("own-key"))
    yield
    install_keys([], [])


def ask(
    path: str, method: str = "POST", authorization: bytes | None = None, kind: str = "http", headers: list[tuple[bytes, bytes]] | None = None
) -> tuple[bool, list[dict[str, Any]]]:
    """Whether the engine was reached, and what was sent back."""
    reached: list[str] = []
    sent: list[dict[str, Any]] = []

    async def engine(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["type"])

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    given = headers if headers is not None else ([(b"authorization", authorization)] if authorization is not None else [])
    scope = {"type": kind, "method": method, "path": path, "headers": [(b"host", b"x"), *given]}
    asyncio.run(Door(engine)(scope, receive, send))
    return bool(reached), sent


def status(sent: list[dict[str, Any]]) -> int:
    return int(sent[0]["status"])


@pytest.mark.parametrize(("method", "path"), KEYED)
@pytest.mark.parametrize("key", [b"first-key", b"second-key", b"own-key"])
def test_right_key(method: str, path: str, key: bytes) -> None:
    assert ask(path, method, b"Bearer " + key) == (True, [])


@pytest.mark.parametrize(
    "authorization",
    [
        None, b"", b"Bearer", b"Bearer ", b"Bearer wrong", b"Bearer first-keyx", b"Bearer first-ke", b"Bearer FIRST-KEY", b"Bearer first-key second-key",
        b"Basic first-key", b"first-key", b"Bearer first-key, Bearer second-key", b"Bearer \xff\xfe", b"Bearerfirst-key",
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize(("method", "path"), [*KEYED, *CONTROL, ("POST", "/invocations"), ("GET", "/")])
def test_no_or_wrong_key(method: str, path: str, authorization: bytes | None) -> None:
    reached, sent = ask(path, method, authorization)
    assert not reached
    assert status(sent) == 401
    assert (b"www-authenticate", b"Bearer") in sent[0]["headers"]


@pytest.mark.parametrize("authorization", [b"bearer first-key", b"BEARER first-key", b"Bearer  first-key", b"Bearer first-key "])
def test_scheme_in_any_case_and_blanks_around(authorization: bytes) -> None:
    """RFC 9110: the scheme's name is not case-sensitive."""
    assert ask("/v1/models", "GET", authorization)[0]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *CONTROL, ("POST", "/invocations"), ("POST", "/metrics"), ("GET", "/version"), ("POST", "/detokenize"), ("GET", "/docs"), ("GET", "/openapi.json"),
        ("POST", "/v1/chat/completions/"), ("POST", "//v1/chat/completions"), ("POST", "/v1/../invocations"), ("POST", "/V1/models"), ("GET", "/v1/chat/completions"),
        ("DELETE", "/v1/models"), ("HEAD", "/v1/models"), ("OPTIONS", "/v1/models"), ("POST", "/health"), ("GET", "/health/"),
    ],
)  # fmt: skip
def test_everything_else_stays_shut(method: str, path: str) -> None:
    reached, sent = ask(path, method, b"Bearer first-key")
    assert not reached
    assert status(sent) == 404
    assert json.loads(sent[1]["body"])["error"]["message"] == f"{method} {path} is not served here"
    reached, sent = ask(path, method)
    assert not reached
    assert status(sent) == 401, "who has no key learns no paths"


@pytest.mark.parametrize(("method", "path"), CONTROL)
def test_the_supervisor_s_key_opens_the_control_endpoints(method: str, path: str) -> None:
    assert ask(path, method, b"Bearer own-key") == (True, [])


@pytest.mark.parametrize(("method", "path"), [("POST", "/invocations"), ("GET", "/openapi.json"), ("GET", "/tokenize"), ("POST", "/health")])
def test_the_supervisor_s_key_opens_nothing_else(method: str, path: str) -> None:
    reached, sent = ask(path, method, b"Bearer own-key")
    assert not reached and status(sent) == 404


def test_the_gateway_with_the_key_of_before_is_told_to_come_again() -> None:
    reached, sent = ask("/v1/models", "GET", headers=[(b"host", b"engine"), (b"authorization", b"Bearer old")])
    sent[0]["headers"] = dict(sent[0]["headers"])
    assert not reached and status(sent) == 503 and sent[0]["headers"][b"retry-after"] == b"1"
    assert json.loads(sent[1]["body"])["error"]["code"] == "engine_away"


def test_an_engine_s_error_comes_in_openai_s_form() -> None:
    sent: list[Any] = []

    async def engine(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b'{"detail":"Not Found"}'})

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/v1/models", "headers": [(b"authorization", b"Bearer first-key")]}
    asyncio.run(Door(engine)(scope, None, send))  # type: ignore[arg-type]
    assert json.loads(sent[1]["body"])["error"]["message"] == "Not Found"


def test_websocket_is_closed() -> None:
    reached, sent = ask("/v1/realtime", kind="websocket", authorization=b"Bearer first-key")
    assert not reached
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_lifespan_passes() -> None:
    assert ask("", kind="lifespan") == (True, [])


def test_error_in_openai_s_form() -> None:
    _, sent = ask("/v1/models", "GET")
    start, body = sent
    error = json.loads(body["body"])["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == "invalid_api_key"
    headers = dict(start["headers"])
    assert headers[b"content-type"] == b"application/json"
    assert int(headers[b"content-length"]) == len(body["body"])


def test_a_second_header_does_not_help() -> None:
    reached, _ = ask("/v1/models", "GET", headers=[(b"authorization", b"Bearer wrong"), (b"authorization", b"Bearer first-key")])
    assert not reached


def test_no_keys_installed_lets_nobody_in() -> None:
    install_keys([], [])
    for authorization in (None, b"", b"Bearer", b"Bearer "):
        assert not ask("/v1/models", "GET", authorization)[0]
        assert not ask("/health", "GET", authorization)[0]


def test_keys_are_replaced_not_added() -> None:
    install_keys(digests("third-key"), digests("fourth-key"))
    assert not ask("/v1/models", "GET", b"Bearer first-key")[0]
    assert not ask("/health", "GET", b"Bearer own-key")[0]
    assert ask("/v1/models", "GET", b"Bearer third-key")[0]


# -- the file


@pytest.mark.parametrize("text", ["first-key", "first-key\n", "  first-key \r\n", "\n\nfirst-key\n\n"])
def test_one_key(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_bytes(text.encode())
    assert read_keys(tmp_path / "key") == digests("first-key")


def test_two_keys(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("first-key\nsecond-key\n")
    assert read_keys(tmp_path / "key") == digests("first-key", "second-key")


@pytest.mark.parametrize("text", ["", "\n", " \n\t\n"])
def test_empty_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)
    with pytest.raises(MachineError, match=r"the API key file .* is empty"):
        read_keys(tmp_path / "key")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"no API key: .*/key is not there") as caught:
        read_keys(tmp_path / "key")
    assert "make key" in str(caught.value)


def test_unreadable_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k")
    (tmp_path / "key").chmod(0)
    before = os.geteuid()
    os.seteuid(before or 10001)  # root reads everything
    try:
        with pytest.raises(MachineError, match=r"cannot be read by uid"):
            read_keys(tmp_path / "key")
    finally:
        os.seteuid(before)


def test_folder_instead_of_a_file(tmp_path: Path) -> None:
    """Docker makes an empty folder where a bind's source is missing."""
    (tmp_path / "key").mkdir()
    with pytest.raises(MachineError, match=r"the API key .*/key is a folder"):
        read_keys(tmp_path / "key")


def test_not_text(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MachineError, match=r"is not text") as caught:
        read_keys(tmp_path / "key")
    assert "xff" not in str(caught.value), "a key is never shown"


@pytest.mark.parametrize("content", ["my secret phrase\n", "# the key\nabc\n"])
def test_a_line_of_several_words_is_no_key(tmp_path: Path, content: str) -> None:
    file = tmp_path / "keys"
    file.write_text(content)
    with pytest.raises(MachineError, match="a line with spaces"):
        read_keys(file)
