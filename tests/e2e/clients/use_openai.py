"""The `openai` client against a gateway: one function a feature. `python use_openai.py FEATURE`, with OPENAI_BASE_URL, OPENAI_API_KEY and MODEL."""

import json
import os
import sys
import time

import openai

MODEL = os.environ["MODEL"]
ASKED = [{"role": "user", "content": "What is the weather in Paris?"}]
CITY = {"type": "object", "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}}, "required": ["city"], "additionalProperties": False}
# Without `strict` vLLM binds a call to JSON, and not to these parameters.
TOOL = {"type": "function", "function": {"name": "weather", "description": "The weather of a city.", "parameters": CITY, "strict": True}}
client = openai.OpenAI(max_retries=0, timeout=180)


def models() -> None:
    """Listed, and one by its name."""
    assert [one.id for one in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL
    try:
        client.models.retrieve("nobody")
    except openai.NotFoundError as error:
        assert error.code == "model_not_found"
    else:
        raise AssertionError("a model that is not there")


def chat() -> None:
    """An answer with its usage and the id of the request."""
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=ASKED, max_tokens=8, temperature=0)
    answer = raw.parse()
    assert answer.choices[0].message.content and answer.usage.completion_tokens <= 8
    assert answer._request_id == raw.headers["x-request-id"]


def streaming() -> None:
    """The same text in pieces, with the usage at the end."""
    whole = client.chat.completions.create(model=MODEL, messages=ASKED, max_tokens=12, temperature=0).choices[0].message.content
    stream = client.chat.completions.create(model=MODEL, messages=ASKED, max_tokens=12, temperature=0, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == whole and len([piece for piece in pieces if piece]) > 3
    assert chunks[-1].usage.completion_tokens <= 12


def completions() -> None:
    """The older endpoint."""
    assert client.completions.create(model=MODEL, prompt="The capital of France is", max_tokens=4, temperature=0).choices[0].text


def responses() -> None:
    """The newer endpoint, at once and in events."""
    assert client.responses.create(model=MODEL, input="Hello", max_output_tokens=16, temperature=0).output_text
    kinds = [event.type for event in client.responses.create(model=MODEL, input="Hello", max_output_tokens=16, temperature=0, stream=True)]
    assert kinds[0] == "response.created" and "response.output_text.delta" in kinds and kinds[-1] in ("response.completed", "response.incomplete")


def tools() -> None:
    """A call that the model has to make, whose arguments fit."""
    named = {"type": "function", "function": {"name": "weather"}}
    answer = client.chat.completions.create(model=MODEL, messages=ASKED, tools=[TOOL], tool_choice=named, max_tokens=60, temperature=0)
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "weather" and json.loads(call.function.arguments)["city"] in ("Paris", "Rome")


def structured() -> None:
    """JSON that fits a schema."""
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": CITY, "strict": True}}
    answer = client.chat.completions.create(model=MODEL, messages=ASKED, response_format=form, max_tokens=40, temperature=0)
    assert json.loads(answer.choices[0].message.content)["city"] in ("Paris", "Rome")


def logprobs() -> None:
    """Of each token, with those beside it."""
    answer = client.chat.completions.create(model=MODEL, messages=ASKED, max_tokens=4, temperature=0, logprobs=True, top_logprobs=2)
    tokens = answer.choices[0].logprobs.content
    assert len(tokens) == 4 and all(token.logprob <= 0 and len(token.top_logprobs) >= 2 for token in tokens)
    assert all(abs(token.logprob - max(other.logprob for other in token.top_logprobs)) < 1e-4 for token in tokens), "greedy is the likeliest"


def embeddings() -> None:
    """Refused in words that the client shows."""
    try:
        client.embeddings.create(model=MODEL, input="a")
    except openai.NotFoundError as error:
        assert "embeddings are not served here" in str(error) and error.code == "unknown_url"
    else:
        raise AssertionError("embeddings of a model that has none")


def errors() -> None:
    """Each is the class that the client has for it."""
    for raises, call in (
        (openai.AuthenticationError, lambda: client.with_options(api_key="wrong").models.list()),
        (openai.NotFoundError, lambda: client.chat.completions.create(model="nobody", messages=ASKED)),
        (openai.BadRequestError, lambda: client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "long " * 5000}])),
        (openai.APIStatusError, lambda: client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "x" * (17 * 2**20)}])),
    ):
        try:
            call()
        except raises as error:
            assert error.request_id and error.body["message"], error
        else:
            raise AssertionError(raises)


def cancel() -> None:
    """Leave long answers in the middle; that the engine hears of it is the test's to see."""
    streams = [
        client.chat.completions.create(model=MODEL, messages=ASKED, max_tokens=400, n=4, stream=True, temperature=1, extra_body={"ignore_eos": True})
        for _ in range(2)
    ]
    for stream in streams:
        next(iter(stream))
    time.sleep(1)
    for stream in streams:
        stream.close()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
