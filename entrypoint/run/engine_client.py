"""An engine as its supervisor asks it: over its own HTTP endpoints, with the supervisor's key. Standard library only."""

import http.client
import json
import re
from dataclasses import dataclass
from typing import Any

from entrypoint.run.engine_start import MARK
from entrypoint.run.greedy import Answer

PLAIN = {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
"""Greedy, whatever the model's generation_config.json would have."""

SAMPLE = re.compile(r"^(?P<name>[A-Za-z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$", re.M)
LABEL = re.compile(r'(\w+)="([^"]*)"')
TOKENS = tuple(f"{engine}:{which}_tokens_total" for engine in ("vllm", "lmdeploy") for which in ("prompt", "generation"))
CACHE = "vllm:cache_config_info"


class EngineError(Exception):
    """The engine gave no answer in time, or one that its API does not promise; `status` where there was one."""

    def __init__(self, what: str, status: int | None = None):
        self.status = status
        super().__init__(what)


@dataclass(frozen=True)
class Ending:
    """How an answer of the chat endpoint ended."""

    reason: str
    tokens: int


class EngineClient:
    """vLLM's endpoints, or LMDeploy's with our dialect of them, on this machine."""

    def __init__(self, port: int, key: str, model: str):
        self.port, self.key, self.model = port, key, model

    def is_ready(self) -> bool:
        """Whether its port is open and its core alive; it opens the port once the model is loaded."""
        try:
            self._ask("GET", "/health", None, 5)
            return True
        except EngineError:
            return False

    def chat_ids(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> list[int]:
        """The prompt's token ids as the engine's own template and tokenizer make them."""
        body = {"messages": _as_sent(messages), "add_generation_prompt": True, **({"tools": tools} if tools else {})}
        return list(self._ask("POST", "/tokenize", {"model": self.model, **body}, 60)["tokens"])

    def text_ids(self, text: str) -> list[int]:
        """Token ids of plain text, for a model without a template."""
        return list(self._ask("POST", "/tokenize", {"model": self.model, "prompt": text}, 60)["tokens"])

    def answer(self, prompt_ids: list[int], tokens: int) -> Answer:
        """The greedy continuation of token ids, up to an end token, with its log-probabilities (nats) and margins."""
        body = {
            "model": self.model, "prompt": prompt_ids, "max_tokens": tokens, "logprobs": 2, "return_token_ids": True, "return_tokens_as_token_ids": True,
            "skip_special_tokens": False, **PLAIN,
        }  # fmt: skip
        (choice,) = self._ask("POST", "/v1/completions", body, 600)["choices"]
        ranked = [sorted(top.values(), reverse=True) for top in choice["logprobs"]["top_logprobs"]]
        return Answer(list(choice["token_ids"]), list(choice["logprobs"]["token_logprobs"]), [row[0] - row[1] for row in ranked])

    def ending(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]], room: int) -> Ending:
        """How a chat answer ends that has room for so many tokens, asked as a user would."""
        body = {"model": self.model, "messages": _as_sent(messages), "max_tokens": room, **({"tools": tools} if tools else {}), **PLAIN}
        said = self._ask("POST", "/v1/chat/completions", body, 600)
        return Ending(said["choices"][0]["finish_reason"], said["usage"]["completion_tokens"])

    def canary(self, prompt_ids: list[int], timeout: float) -> None:
        """One token: raises EngineError where it does not come within `timeout` seconds."""
        body = {"model": self.model, "prompt": prompt_ids, "max_tokens": 1, **PLAIN}
        self._ask("POST", f"/v1/completions?{MARK}", body, timeout)

    def tokens(self, timeout: float) -> float:
        """Tokens that it has read and written since its start."""
        return sum(value for name, _, value in self._metrics(timeout) if name in TOKENS)

    def capacity(self) -> int:
        """Tokens that its key-value cache holds; 0 where it does not say."""
        for name, labels, _ in self._metrics(10):
            if name == CACHE:
                blocks, size = labels.get("num_gpu_blocks", ""), labels.get("block_size", "")
                return int(blocks) * int(size) if blocks.isdigit() and size.isdigit() else 0
        return 0

    def limit(self) -> int:
        """Tokens that a prompt and its answer may have together; 0 where it does not say."""
        return int(self._ask("GET", "/v1/models", None, 30)["data"][0].get("max_model_len") or 0)

    def models(self) -> list[str]:
        """Every name that it answers to."""
        return [model["id"] for model in self._ask("GET", "/v1/models", None, 30)["data"]]

    def load_adapter(self, name: str, folder: str, *, again: bool) -> None:
        """Have an adapter served under a name; `again` where the name is served already."""
        self._ask("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": folder, "load_inplace": again}, 600)

    def unload_adapter(self, name: str) -> None:
        """Have it served no more."""
        self._ask("POST", "/v1/unload_lora_adapter", {"lora_name": name}, 60)

    def named(self, model: str) -> "EngineClient":
        """The same engine, asked for another of its models."""
        return EngineClient(self.port, self.key, model)

    def _metrics(self, timeout: float) -> list[tuple[str, dict[str, str], float]]:
        text = self._ask("GET", "/metrics", None, timeout)
        return [(m["name"], dict(LABEL.findall(m["labels"] or "")), float(m["value"])) for m in SAMPLE.finditer(str(text))]

    def _ask(self, method: str, path: str, body: dict[str, Any] | None, timeout: float) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        try:
            connection.request(method, path, None if body is None else json.dumps(body).encode(), headers)
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(f"{method} {path}: {error or type(error).__name__}") from None
        finally:
            connection.close()
        if answer.status != 200:
            raise EngineError(f"{method} {path}: HTTP {answer.status}: {' '.join(text.split())[:300]}", answer.status)
        try:
            return json.loads(text) if "json" in (answer.getheader("Content-Type") or "") else text
        except ValueError:
            raise EngineError(f"{method} {path}: what came back is not JSON", answer.status) from None


def _as_sent(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages as a client sends them: the arguments of a call are text there, and objects in templates."""
    return [{**m, "tool_calls": [_call_as_sent(call) for call in m["tool_calls"]]} if m.get("tool_calls") else m for m in messages]


def _call_as_sent(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    return {**call, "function": {**function, "arguments": json.dumps(function["arguments"], ensure_ascii=False)}}
