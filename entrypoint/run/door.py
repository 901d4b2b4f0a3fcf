"""What an engine's port lets in: the OpenAI endpoints with the gateway's key, its control endpoints with its supervisor's. The rest stays shut.

vLLM's own key check guards some prefixes only (`/invocations` answers without one) and its start-up log prints its arguments, so keys are
kept here and never handed to the engine, and of each only its hash.
"""

import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from entrypoint.run.error_form import FIRST_OF_THE_SERVER, ErrorForm
from schemas.errors import MachineError

SERVED = frozenset(
    {("GET", "/v1/models"), ("POST", "/v1/chat/completions"), ("POST", "/v1/completions"), ("POST", "/v1/responses")}
)  # fmt: skip
"""What users are let through to."""

CONTROL = frozenset(
    {("GET", "/health"), ("GET", "/metrics"), ("POST", "/tokenize"), ("POST", "/v1/load_lora_adapter"), ("POST", "/v1/unload_lora_adapter")}
)  # fmt: skip
"""What only the supervisor asks: they show what others ask, or change what is served."""

GATEWAY = b"engine"
"""The host that the gateway asks for, whatever its client did."""

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
_served: list[bytes] = []
_own: list[bytes] = []


def read_keys(file: Path) -> list[bytes]:
    """sha256 of each key in the file, one a line; raises MachineError where there is none."""
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        raise MachineError(f"no API key: {file} is not there", "`make key` writes secrets/api_key; Compose mounts it as a secret") from None
    except PermissionError:
        raise MachineError(f"the API key {file} cannot be read by uid 10001", "chown root:10001 secrets/api_key && chmod 0440 secrets/api_key") from None
    except IsADirectoryError:
        raise MachineError(f"the API key {file} is a folder", "Docker makes one where the file is missing: remove secrets/api_key, then `make key`") from None
    except UnicodeDecodeError:
        raise MachineError(f"the API key file {file} is not text", "put one key on a line, or let `make key` write it") from None
    if not lines:
        raise MachineError(f"the API key file {file} is empty", "put one key on a line")
    if any(len(line.split()) > 1 for line in lines):
        raise MachineError(f"the API key file {file} has a line with spaces in it", "put one key on a line and nothing else: no comments")
    return [hashlib.sha256(line.encode()).digest() for line in lines]


def install_keys(served: list[bytes], own: list[bytes]) -> None:
    """The keys, by their sha256, that this process's door accepts: for the OpenAI endpoints, and the supervisor's own, for everything."""
    _served[:] = served
    _own[:] = own


class Door:
    """ASGI middleware."""

    def __init__(self, app: Callable[..., Awaitable[None]]):
        self.app = app
        self.served = ErrorForm(app)

    async def __call__(self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Send) -> None:
        """Pass the request on, or answer it with an error in OpenAI's form."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        asked = (scope["method"], scope["path"])
        is_served, is_own = _matches(scope)
        if not (is_served or is_own) and (b"host", GATEWAY) in scope["headers"]:  # this server's key has just changed; the client's is right
            await _refuse(send, 503, "engine_away", "the engine does not answer right now: ask again in a while")
        elif not (is_served or is_own):
            await _refuse(send, 401, "invalid_api_key", "a valid API key is required: Authorization: Bearer KEY")
        elif asked in SERVED:
            await self.served(scope, receive, send)
        elif is_own and asked in CONTROL:
            await self.app(scope, receive, send)
        else:
            await _refuse(send, 404, "unknown_url", f"{asked[0]} {asked[1]} is not served here")


def _matches(scope: Message) -> tuple[bool, bool]:
    """Whether the request carries one of the served keys, and the supervisor's; every key is compared, in constant time."""
    given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    scheme, _, token = given.partition(b" ")
    digest = hashlib.sha256(token.strip()).digest()
    served, own = ([hmac.compare_digest(digest, known) for known in keys] for keys in (_served, _own))
    is_bearer = scheme.lower() == b"bearer"
    return is_bearer and any(served), is_bearer and any(own)


async def _refuse(send: Send, status: int, code: str, message: str) -> None:
    kind = "server_error" if status >= FIRST_OF_THE_SERVER else "invalid_request_error"
    body = json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status == 503:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
