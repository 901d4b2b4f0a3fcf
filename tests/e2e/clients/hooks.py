"""For schemathesis: what it makes up is sent to a model that is there, and costs a few tokens."""

import os

import schemathesis


@schemathesis.hook
def map_body(context: object, body: object) -> object:
    """Of every request with a body that is an object."""
    if isinstance(body, dict):
        if "model" in body:
            body["model"] = os.environ["MODEL"]
        for field in ("max_tokens", "max_completion_tokens"):
            if field in body or (field == "max_tokens" and {"messages", "prompt"} & set(body)):
                body[field] = 2
        if "input" in body:
            body["max_output_tokens"] = 2
    return body
