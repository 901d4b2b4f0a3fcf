"""What the supervisor asks, answered by LMDeploy's parts; the rest goes on as it came."""

import asyncio
import json
from typing import Any

import pytest

from entrypoint.run.lmdeploy_dialect import Dialect, completion

ASKED = {"model": "n", "prompt": [1, 2], "max_tokens": 3, "logprobs": 2}


def test_completion() -> None:
    found = completion(ASKED, "ab", [5, 6], [{5: -0.1, 9: -2.0}, {6: -0.5, 1: -1.0}], "stop")
    (choice,) = found["choices"]
    assert choice["token_ids"] == [5, 6] and choice["finish_reason"] == "stop"
    assert choice["logprobs"]["token_logprobs"] == [-0.1, -0.5]
    assert choice["logprobs"]["top_logprobs"] == [{"token_id:5": -0.1, "token_id:9": -2.0}, {"token_id:6": -0.5, "token_id:1": -1.0}]
    assert found["usage"] == {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}
    assert completion({"model": "n", "prompt": [1]}, "a", [5], [], "length")["choices"][0]["logprobs"] is None


def test_a_token_without_its_log_probability_is_no_answer() -> None:
    with pytest.raises(ValueError):
        completion(ASKED, "ab", [5, 6], [{5: -0.1}], "stop")


async def call(path: str, parts: list[bytes], method: str = "POST") -> tuple[int, bytes]:
    """Through the middleware to an app that answers with what it received."""
    queue = [{"type": "http.request", "body": part, "more_body": at < len(parts) - 1} for at, part in enumerate(parts)]
    said: list[Any] = []

    async def receive() -> Any:
        return queue.pop(0)

    async def send(message: Any) -> None:
        said.append(message)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message["body"]
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": body})

    await Dialect(app, lambda: None)({"type": "http", "method": method, "path": path}, receive, send)
    return said[0]["status"], said[1]["body"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"model": "n", "messages": []}),
        ("/v1/completions", {"model": "n", "prompt": "words"}),
        ("/v1/completions", {"model": "n", "prompt": ["one", "two"]}),
        ("/v1/completions", {"model": "n", "prompt": [True]}),
        ("/v1/completions", {"model": "n", "prompt": []}),
        ("/v1/completions", {"model": "n", "prompt": [1, 2], "temperature": 0, "stream": True}),
        ("/v1/completions", {"model": "n", "prompt": [1, 2], "temperature": 0.5}),
        ("/v1/completions", {"model": "n", "prompt": [1, 2]}),
        ("/v1/completions", {"prompt": [1, 2], "temperature": 0}),
    ],
)
def test_the_rest_goes_on(path: str, body: dict[str, Any]) -> None:
    raw = json.dumps(body).encode()
    assert asyncio.run(call(path, [raw])) == (299, raw)
    assert asyncio.run(call(path, [raw[:3], raw[3:9], raw[9:]])) == (299, raw), "in parts too"


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null"])
def test_what_is_no_request_is_the_engine_s_to_refuse(raw: bytes) -> None:
    assert asyncio.run(call("/tokenize", [raw])) == (299, raw)


@pytest.mark.image
@pytest.mark.lmdeploy
@pytest.mark.filterwarnings("ignore")  # the engine's own, while it is imported
def test_lmdeploy_s_own_parts_read_a_chat(tmp_path: Any) -> None:
    """In LMDeploy's image, without a GPU: its template and tokenizer, as its chat endpoint calls them, against transformers'."""
    pytest.importorskip("lmdeploy")
    from types import SimpleNamespace

    from lmdeploy.model import ChatTemplateConfig
    from lmdeploy.serve.parsers import ResponseParserManager
    from lmdeploy.serve.processors import MultimodalProcessor
    from lmdeploy.tokenizer import Tokenizer
    from tokenizers import Tokenizer as Fast
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    words = ["<s>", "</s>", "<u>", "system", "user", "assistant", "hello", "there", "be", "brief", "?"]
    fast = Fast(WordLevel({word: at for at, word in enumerate(words)}, unk_token="<u>"))
    fast.pre_tokenizer = WhitespaceSplit()
    template = "{% for m in messages %}{{ '<s> ' + m['role'] + ' ' + m['content'] + ' </s> ' }}{% endfor %}{% if add_generation_prompt %}{{ '<s> assistant ' }}{% endif %}"
    PreTrainedTokenizerFast(tokenizer_object=fast, bos_token="<s>", eos_token="</s>", unk_token="<u>", chat_template=template).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    tokenizer = Tokenizer(str(tmp_path))
    processor = MultimodalProcessor(tokenizer, ChatTemplateConfig("hf", model_path=str(tmp_path)).chat_template())
    parser = ResponseParserManager.get("default")
    parser.set_parsers(tokenizer=tokenizer.model.model)
    engine = SimpleNamespace(model_name="n", tokenizer=tokenizer, prompt_processor=processor)
    dialect = Dialect(None, lambda: SimpleNamespace(async_engine=engine, response_parser_cls=parser))  # type: ignore[arg-type]

    async def asked(**body: Any) -> tuple[int, Any]:
        """Over the wire, as the supervisor asks."""
        said: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}

        async def send(message: Any) -> None:
            said.append(message)

        await dialect({"type": "http", "method": "POST", "path": "/tokenize"}, receive, send)
        return said[0]["status"], json.loads(said[1]["body"])

    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello there ?"}]
    wanted = AutoTokenizer.from_pretrained(tmp_path).apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert asyncio.run(asked(model="n", messages=messages)) == (200, {"tokens": list(wanted)}) and len(wanted) == 13
    assert asyncio.run(asked(model="n", prompt="hello there")) == (200, {"tokens": [6, 7]})
    status, said = asyncio.run(asked(model="n", messages=7))
    assert status == 400 and "messages" in said["error"]["message"]
    assert asyncio.run(asked(model="n"))[0] == 400
