"""Writes docs/openapi.json: the endpoints that the gateway lets in, as far as clients rely on them. `python -m entrypoint.openapi [--check]`.

The engine knows more fields than are listed; none that is listed is refused.
"""

import json
import sys
from pathlib import Path
from typing import Any

from entrypoint import __version__
from schemas.generate import write_or_compare

PAGE = Path(__file__).parents[1] / "docs" / "openapi.json"
Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}


def number(least: float, most: float) -> Schema:
    """A number within bounds."""
    return {"type": "number", "minimum": least, "maximum": most}


def whole(least: int, most: int) -> Schema:
    """An integer within bounds."""
    return {"type": "integer", "minimum": least, "maximum": most}


def record(required: tuple[str, ...], **fields: Schema) -> Schema:
    """An object that may have more fields than these."""
    return {"type": "object", "required": list(required), "properties": fields}


def many(item: Schema, **more: Any) -> Schema:
    """A list."""
    return {"type": "array", "items": item, **more}


def ref(name: str) -> Schema:
    """One of the schemas below."""
    return {"$ref": f"#/components/schemas/{name}"}


SAMPLING = {
    "model": TEXT,
    "temperature": number(0, 2),
    "top_p": {**number(0.01, 1)},
    "seed": whole(0, 2**31),
    "stream": FLAG,
}
COMPLETING = {
    **SAMPLING,
    "max_tokens": whole(1, 1_048_576),
    "n": whole(1, 8),
    "stop": many(TEXT, maxItems=4),
    "presence_penalty": number(-2, 2),
    "frequency_penalty": number(-2, 2),
    "user": TEXT,
}
CONTENT = {"type": "string", "minLength": 1}
MESSAGE = {"oneOf": [{**record(("role", "content"), role={"const": role}, content=CONTENT), "title": role} for role in ("system", "user", "assistant")]}
FUNCTION = record(("name",), name={"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}, description=TEXT, parameters={"type": "object"})
CHAT_REQUEST = record(
    ("model", "messages"),
    messages=many(MESSAGE, minItems=1),
    max_completion_tokens=whole(1, 1_048_576),
    logprobs=FLAG,
    top_logprobs=whole(0, 20),
    response_format=record(("type",), type={"enum": ["text", "json_object", "json_schema"]}, json_schema={"type": "object"}),
    tools=many(record(("type", "function"), type={"const": "function"}, function=FUNCTION), minItems=1),
    **COMPLETING,
)
USAGE = record(
    ("prompt_tokens", "completion_tokens", "total_tokens"), **{key: {"type": "integer"} for key in ("prompt_tokens", "completion_tokens", "total_tokens")}
)
FINISH = {"enum": ["stop", "length", "tool_calls", "content_filter", "repetition", None]}


def answer(kind: str, choice: Schema) -> Schema:
    """Of completions and chat completions."""
    fields = {"id": TEXT, "object": {"const": kind}, "created": {"type": "integer"}, "model": TEXT, "choices": many(choice), "usage": USAGE}
    return record(tuple(fields), **fields)


SCHEMAS: dict[str, Schema] = {
    "Error": record(("error",), error=record(("message",), message=TEXT, type=TEXT, param={"type": ["string", "null"]}, code={"type": ["string", "integer", "null"]})),
    "BadRequest": {"anyOf": [ref("Error"), {**record(("detail",), detail={}), "title": "a body that is no JSON, in the engine's own words"}]},
    "Event": {**record(("data",), data=TEXT, event=TEXT), "description": "One of a stream; the last of completions has the data [DONE]."},
    "Model": record(("id", "object"), id=TEXT, object={"const": "model"}),
    "ModelList": record(("object", "data"), object={"const": "list"}, data=many(ref("Model"))),
    "ChatRequest": CHAT_REQUEST,
    "ChatCompletion": answer(
        "chat.completion",
        record(("index", "message", "finish_reason"), index=whole(0, 7), finish_reason=FINISH, message=record(("role",), role={"const": "assistant"}, content={"type": ["string", "null"]})),
    ),
    "CompletionRequest": record(("model", "prompt"), prompt=CONTENT, **COMPLETING),
    "Completion": answer("text_completion", record(("index", "text", "finish_reason"), index=whole(0, 7), text=TEXT, finish_reason=FINISH)),
    "ResponseRequest": record(("model", "input"), input=CONTENT, instructions=CONTENT, max_output_tokens=whole(1, 1_048_576), **SAMPLING),
    "Response": record(
        ("id", "object", "status", "output"),
        id=TEXT, object={"const": "response"}, status={"enum": ["completed", "incomplete", "failed", "in_progress", "queued", "cancelled"]}, output=many({"type": "object"}),
    ),
    "Health": record(("status",), status=TEXT, generation={"type": "integer"}, models=many(TEXT)),
}  # fmt: skip

ERRORS = {
    "400": "The request is malformed, or asks what the model cannot.",
    "401": "No key that is known.",
    "404": "No such endpoint, or no such model.",
    "405": "Another method; `Allow` names the right one.",
    "413": "The body is larger than gateway.max_body_mib.",
    "422": "A field has a value that it cannot have.",
    "429": "More than this key may ask; `Retry-After` says when.",
    "503": "The model is being loaded, or the engine is away; `Retry-After` says when.",
}


def as_json(schema: Schema) -> Schema:
    """A body."""
    return {"application/json": {"schema": schema}}


def operation(name: str, summary: str, result: str, request: str | None = None) -> Schema:
    """One endpoint that wants a key."""
    content = as_json(ref(result))
    if request:
        content |= {"text/event-stream": {"schema": ref("Event")}}
    found: Schema = {"operationId": name, "summary": summary, "responses": {"200": {"description": "The answer.", "content": content}}}
    if request:
        found["requestBody"] = {"required": True, "content": as_json(ref(request))}
    found["responses"] |= {
        code: {"description": text, "content": as_json(ref("BadRequest" if code in ("400", "422") else "Error"))} for code, text in ERRORS.items()
    }
    return found


def health(name: str, summary: str) -> Schema:
    """One endpoint without a key."""
    responses = {"200": {"description": "It is.", "content": as_json(ref("Health"))}}
    responses["503"] = {"description": "It is not.", "content": as_json({"anyOf": [ref("Health"), ref("Error")]})}
    return {"operationId": name, "summary": summary, "security": [], "responses": responses}


def document() -> Schema:
    """All of it."""
    one_model = operation("retrieveModel", "One model.", "Model")
    one_model["parameters"] = [{"name": "model", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,62}$"}}]
    paths = {
        "/v1/models": {"get": operation("listModels", "The models that answer.", "ModelList")},
        "/v1/models/{model}": {"get": one_model},
        "/v1/chat/completions": {"post": operation("createChatCompletion", "An answer to a conversation.", "ChatCompletion", "ChatRequest")},
        "/v1/completions": {"post": operation("createCompletion", "A continuation of a text.", "Completion", "CompletionRequest")},
        "/v1/responses": {"post": operation("createResponse", "An answer, by the newer API; nothing is stored.", "Response", "ResponseRequest")},
        "/health": {"get": health("alive", "Whether the gateway runs.")},
        "/health/ready": {"get": health("ready", "Whether requests reach an engine.")},
        "/health/deep": {"get": health("deep", "Whether the engine answers right now.")},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Caisson", "version": __version__, "description": "The endpoints of the gateway. The engine knows more fields than are listed."},
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {"schemas": SCHEMAS, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


def main() -> int:
    """Write the document, or with --check say whether it is current."""
    return write_or_compare({PAGE: json.dumps(document(), indent=2) + "\n"}, "make generate", check="--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
