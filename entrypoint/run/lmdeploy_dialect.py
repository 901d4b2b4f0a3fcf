"""What a supervisor asks of an engine and LMDeploy answers in no endpoint of its own: token ids of a chat, and a greedy answer to token ids.

In the words of vLLM's endpoints, by the parts of LMDeploy that its chat endpoint calls, so that what is compared is what users get.
"""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LARGEST = 64 * 2**20
"""Bytes of a request that is looked into; longer ones go on to LMDeploy unread."""


class Dialect:
    """ASGI middleware behind the door. `context` gives LMDeploy's server context, once there is one."""

    def __init__(self, app: Callable[..., Awaitable[None]], context: Callable[[], Any]):
        self.app, self._context = app, context

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer what is ours, pass the rest on as it came."""
        asked = (scope.get("method"), scope.get("path"))
        if scope["type"] != "http" or asked not in (("POST", "/tokenize"), ("POST", "/v1/completions")):
            await self.app(scope, receive, send)
            return
        parts: list[bytes] = []
        more = True
        while more and sum(map(len, parts)) <= LARGEST:
            message = await receive()
            parts.append(message.get("body", b""))
            more = bool(message.get("more_body")) and message["type"] == "http.request"
        body = _read(b"".join(parts)) if not more else None
        if body is not None and asked[1] == "/tokenize":
            await _answer(send, self._tokenize(body))
        elif body is not None and _is_ids(body.get("prompt")) and body.get("temperature") == 0 and not body.get("stream"):
            await _answer(send, self._complete(body))
        else:
            await self.app(scope, _again(b"".join(parts), more, receive), send)

    async def _tokenize(self, body: dict[str, Any]) -> dict[str, Any]:
        from lmdeploy.serve.openai.protocol import ChatCompletionRequest

        context = self._context()
        engine = context.async_engine
        adapter = _adapter(engine, body["model"])
        if "prompt" in body:
            found = await engine.prompt_processor.get_prompt_input(prompt=body["prompt"], do_preprocess=False, adapter_name=adapter)
            return {"tokens": list(found["input_ids"])}
        request = ChatCompletionRequest(model=body["model"], messages=body["messages"], tools=body.get("tools"))
        request = context.response_parser_cls(request).request  # with tools and calls as templates want them
        found = await engine.prompt_processor.get_prompt_input(
            prompt=request.messages, do_preprocess=True, adapter_name=adapter, tools=request.tools, reasoning_effort=request.reasoning_effort
        )
        return {"tokens": list(found["input_ids"])}

    async def _complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """Greedy, as it was asked for; the end token is part of the answer."""
        from lmdeploy.messages import GenerationConfig

        context = self._context()
        engine = context.async_engine
        wanted = GenerationConfig(
            max_new_tokens=body.get("max_tokens") or 16, do_sample=False, logprobs=body.get("logprobs") or None, skip_special_tokens=False,
            include_stop_str_in_output=True,
        )  # fmt: skip
        prepared = await engine.preprocess(
            None, context.create_session(), gen_config=wanted, do_preprocess=False, adapter_name=_adapter(engine, body["model"]), input_ids=list(body["prompt"])
        )
        text, reason = "", None
        ids: list[int] = []
        ranked: list[dict[int, float]] = []
        async for out in engine.generate(prepared, stream_response=True):
            text += out.response or ""
            ids += out.token_ids or []
            ranked += out.logprobs or []
            reason = out.finish_reason or reason
        return completion(body, text, ids, ranked, reason)


def completion(body: dict[str, Any], text: str, ids: list[int], ranked: list[dict[int, float]], reason: str | None) -> dict[str, Any]:
    """An answer in OpenAI's form, with token ids; `ranked` are log-probabilities (nats) by token id, one mapping a token."""
    told: dict[str, Any] = {"index": 0, "text": text, "finish_reason": reason, "token_ids": ids, "logprobs": None}
    if body.get("logprobs"):
        top = [{f"token_id:{token}": value for token, value in row.items()} for row in ranked]
        told["logprobs"] = {
            "tokens": [f"token_id:{token}" for token in ids],
            "token_logprobs": [row[token] for token, row in zip(ids, ranked, strict=True)],
            "top_logprobs": top,
        }
    usage = {"prompt_tokens": len(body["prompt"]), "completion_tokens": len(ids), "total_tokens": len(body["prompt"]) + len(ids)}
    return {"id": "cmpl-ids", "object": "text_completion", "model": body["model"], "choices": [told], "usage": usage}


def _adapter(engine: Any, model: str) -> str | None:
    return None if model == engine.model_name else model


def _is_ids(prompt: Any) -> bool:
    return isinstance(prompt, list) and bool(prompt) and all(type(token) is int for token in prompt)


def _read(raw: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(raw)
    except ValueError:
        return None
    return body if isinstance(body, dict) and isinstance(body.get("model"), str) else None


def _again(body: bytes, more: bool, receive: Receive) -> Receive:
    """What was read, once more, then what comes after it."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": more}

    return replay


async def _answer(send: Send, work: Awaitable[dict[str, Any]]) -> None:
    """What LMDeploy says, or what it does not take, in OpenAI's form."""
    from lmdeploy.serve.core.exceptions import RequestError

    try:
        status, body = 200, await work
    except (RequestError, ValueError, KeyError) as error:
        status, body = 400, {"error": {"message": str(error), "type": "invalid_request_error", "param": None, "code": None}}
    raw = json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(raw)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": raw})
