"""Errors of engines: each in OpenAI's form, and answers that are none left alone."""

import asyncio
import json
from typing import Any

import pytest

from entrypoint.run.error_form import FORM, MOST_BYTES, ErrorForm, in_form


def ask(*messages: dict[str, Any], raises: bool = False) -> list[dict[str, Any]]:
    """What a client gets of an engine that sends these, and then may raise."""
    sent: list[dict[str, Any]] = []

    async def engine(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)
        if raises:
            raise LookupError("of the engine")

    async def send(message: Any) -> None:
        sent.append(dict(message))

    async def run() -> None:
        await ErrorForm(engine)({"type": "http"}, None, send)  # type: ignore[arg-type]

    if raises:
        with pytest.raises(LookupError):
            asyncio.run(run())
    else:
        asyncio.run(run())
    return sent


def start(status: int, kind: bytes = b"text/plain") -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": [(b"Content-Type", kind), (b"content-length", b"999"), (b"x-own", b"1")]}


def body(content: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, "more_body": more}


@pytest.mark.parametrize(
    ("status", "content", "message", "kind", "code"),
    [
        (500, b"Internal Server Error", "Internal Server Error", "server_error", None),
        (404, b'{"detail":"Not Found"}', "Not Found", "invalid_request_error", None),
        (422, b'{"detail":[{"loc":["body","messages"],"msg":"Field required","type":"missing"}]}', "body.messages: Field required", "invalid_request_error", None),
        (400, b'{"object":"error","message":"no such model","type":"BadRequestError","code":400}', "no such model", "BadRequestError", 400),
        (400, b'{"error":"too long"}', "too long", "invalid_request_error", None),
        (400, b'{"error":{"message":"half a form"}}', "half a form", "invalid_request_error", None),
        (502, b"<html>bad gateway</html>", "the engine answered with 502", "server_error", None),
        (500, b'{"cut": ', "the engine answered with 500", "server_error", None),
        (400, b"[" * 50_000, "the engine answered with 400", "invalid_request_error", None),
        (400, b"a" * (MOST_BYTES + 1), "the engine answered with 400", "invalid_request_error", None),
        (400, b"", "the engine answered with 400", "invalid_request_error", None),
        (400, b"null", "the engine answered with 400", "invalid_request_error", None),
        (400, b"\xff\xfe", "\ufffd\ufffd", "invalid_request_error", None),
    ],
)  # fmt: skip
def test_whatever_an_engine_says(status: int, content: bytes, message: str, kind: str, code: int | None) -> None:
    assert json.loads(in_form(status, content)) == {"error": {"message": message, "type": kind, "param": None, "code": code}}


def test_a_body_that_is_in_the_form_is_not_touched() -> None:
    said = b'{ "error": {"message": "m", "type": "BadRequestError", "param": "n", "code": 400} }'
    assert in_form(400, said) == said


def test_an_error_in_pieces_gets_its_own_length_and_keeps_other_headers() -> None:
    first, second = ask(start(404), body(b'{"detail":', more=True), body(b'"Not Found"}'))
    headers = dict(first["headers"])
    assert first["status"] == 404 and headers[b"x-own"] == b"1" and headers[b"content-type"] == b"application/json"
    assert int(headers[b"content-length"]) == len(second["body"]) and len(first["headers"]) == 3
    assert set(json.loads(second["body"])["error"]) == set(FORM)


def test_a_stream_passes_piece_by_piece() -> None:
    messages = [start(200, b"text/event-stream"), body(b"data: 1\n\n", more=True), body(b"data: 2\n\n")]
    assert ask(*messages) == messages


@pytest.mark.parametrize("before", [[], [start(400)], [start(400), body(b"half", more=True)]])
def test_an_engine_that_raises_before_its_answer_is_a_500(before: list[dict[str, Any]]) -> None:
    first, second = ask(*before, raises=True)
    assert first["status"] == 500 and json.loads(second["body"])["error"]["type"] == "server_error"


def test_an_engine_that_raises_in_its_answer_adds_nothing() -> None:
    messages = [start(200), body(b"data: 1\n\n", more=True)]
    assert ask(*messages, raises=True) == messages
