"""An engine's own errors in OpenAI's form, whatever made them: FastAPI's `detail`, LMDeploy's flat objects, a router's plain text, a crash."""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]

FIRST_ERROR = 400
FIRST_OF_THE_SERVER = 500
MOST_BYTES = 64 * 1024
"""Of an error's body that are read; a longer one is an error message for nobody."""

MOST_WORDS = 2000
"""Characters of a plain text that are passed on."""

FORM = ("message", "type", "param", "code")


class ErrorForm:
    """ASGI middleware. Answers below 400 pass as they are, piece by piece."""

    def __init__(self, app: Callable[..., Awaitable[None]]):
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass the request on; raises again what the engine raised, once it is answered."""
        answer = _Answer(send)
        try:
            await self.app(scope, receive, answer.send)
        except Exception:
            await answer.crashed()
            raise


class _Answer:
    """One, on its way out."""

    def __init__(self, send: Send):
        self._send = send
        self._error: Message | None = None
        self._started = False
        self._body = b""

    async def send(self, message: Message) -> None:
        """As the engine sends it; an error is held back until it is whole."""
        if message["type"] == "http.response.start":
            self._started = True
            if message["status"] >= FIRST_ERROR:
                self._error = message
                return
        if self._error is None:
            await self._send(message)
            return
        self._body = (self._body + message.get("body", b""))[: MOST_BYTES + 1]
        if not message.get("more_body", False):
            start, self._error = self._error, None
            await self._finish(start)

    async def crashed(self) -> None:
        """The engine raised: a client that has seen nothing yet is told so."""
        if self._started and self._error is None:
            return
        self._body, self._error = b"", None
        await self._finish({"type": "http.response.start", "status": FIRST_OF_THE_SERVER, "headers": []})

    async def _finish(self, start: Message) -> None:
        body = in_form(start["status"], self._body)
        headers = [(name, value) for name, value in start.get("headers", []) if name.lower() not in (b"content-type", b"content-length")]
        headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self._send({**start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def in_form(status: int, body: bytes) -> bytes:
    """An error's body as OpenAI writes it; one that is already so is not touched."""
    text = body[:MOST_BYTES].decode("utf-8", "replace").strip() if len(body) <= MOST_BYTES else ""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = None if text.startswith(("<", "{", "[")) else text
    error = said.get("error") if isinstance(said, dict) else None
    if isinstance(error, dict) and isinstance(error.get("message"), str) and all(name in error for name in FORM):
        return body
    kind = "server_error" if status >= FIRST_OF_THE_SERVER else "invalid_request_error"
    known = error if isinstance(error, dict) else said if isinstance(said, dict) else {}
    made = {"message": _words(error if error is not None else said) or f"the engine answered with {status}", "type": kind, "param": None, "code": None}
    made |= {name: known[name] for name in FORM[1:] if isinstance(known.get(name), str | int) and not isinstance(known[name], bool)}
    return json.dumps({"error": made}).encode()


def _words(said: Any) -> str:
    """What an error says, wherever its engine puts it."""
    if isinstance(said, str):
        return said.strip()[:MOST_WORDS]
    if isinstance(said, list):
        return "; ".join(filter(None, map(_words, said)))[:MOST_WORDS]
    if not isinstance(said, dict):
        return ""
    place = said.get("loc")
    where = ".".join(map(str, place)) + ": " if isinstance(place, list) and place else ""
    found = next((words for name in ("message", "detail", "msg", "error") if (words := _words(said.get(name)))), "")
    return where + found if found else ""
