"""LangChain's ChatOpenAI against a gateway. `python use_langchain.py FEATURE`, with OPENAI_BASE_URL, OPENAI_API_KEY and MODEL."""

import os
import sys

from langchain_openai import ChatOpenAI

SCHEMA = {
    "title": "Place", "description": "A place.", "type": "object", "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}}, "required": ["city"],
    "additionalProperties": False,
}  # fmt: skip
model = ChatOpenAI(model=os.environ["MODEL"], temperature=0, max_tokens=24, max_retries=0, timeout=180)


def invoke() -> None:
    """One answer, with its usage."""
    answer = model.invoke([("system", "You are brief."), ("human", "Say hello.")])
    assert answer.text and answer.usage_metadata["output_tokens"] <= 24


def stream() -> None:
    """In pieces."""
    assert len([piece for piece in model.stream("Say hello.") if piece.text]) > 3


def batch() -> None:
    """Several at once."""
    assert all(answer.text for answer in model.batch(["Say one.", "Say two.", "Say three."]))


def structured() -> None:
    """By a schema."""
    assert model.with_structured_output(SCHEMA, method="json_schema").invoke("Where is the Louvre?")["city"] in ("Paris", "Rome")


if __name__ == "__main__":
    globals()[sys.argv[1]]()
