"""Kinds of bad rows: each stands as line 11 among twenty good ones. Kind -> (bytes of the line, what the gate must say)."""

import json
from typing import Any

ASKED = {"role": "user", "content": "Where does the ferry go?"}
SAID = {"role": "assistant", "content": "It goes to Ossley."}
CALL = {"type": "function", "function": {"name": "timetable", "arguments": '{"town": "Ossley"}'}}
ROLE = "a role other than system, user, assistant, tool"


def row(*turns: Any, **other: Any) -> bytes:
    """A line with these messages."""
    return json.dumps({"messages": list(turns), **other}).encode()


def answer(**changes: Any) -> bytes:
    """A question and an answer with these keys."""
    return row(ASKED, {k: v for k, v in {**SAID, **changes}.items() if v != "GONE"})


GOOD = [row({"role": "user", "content": f"What leaves at {i} o'clock?"}, {"role": "assistant", "content": f"Ferry {i} leaves."}) for i in range(20)]

KINDS: dict[str, tuple[bytes, str]] = {
    "line cut off": (row(ASKED, SAID)[:-20], "not JSON"),
    "two rows on one line": (row(ASKED, SAID) * 2, "not JSON"),
    "comma behind the row": (row(ASKED, SAID) + b",", "not JSON"),
    "single quotes": (b"{'messages': [{'role': 'user', 'content': 'q'}, {'role': 'assistant', 'content': 'a'}]}", "not JSON"),
    "not JSON at all": (b"Where does the ferry go?\tIt goes to Ossley.", "not JSON"),
    "Latin-1": (row(ASKED, {**SAID, "content": "XX"}).replace(b"XX", b"\xfcber Ossley"), "not UTF-8"),
    "half a UTF-8 letter": (row(ASKED, {**SAID, "content": "XX"}).replace(b"XX", b"Ossley \xe6\x9d"), "not UTF-8"),
    "control character": (row(ASKED, {**SAID, "content": "XX"}).replace(b"XX", b"a\x01b"), "not JSON"),
    "byte order mark inside the file": (b"\xef\xbb\xbf" + row(ASKED, SAID), "not JSON"),
    "half a surrogate pair": (answer(content="XX").replace(b"XX", b"\\ud83d"), "half of a surrogate pair"),
    "nested too deeply": (b"[" * 100_000, "not JSON"),
    "a number of 5000 digits": (row(ASKED, SAID, id=1)[:-2] + b"9" * 5000 + b"}", "not JSON"),
    "null": (b"null", "a row must be an object"),
    "a text": (b'"It goes to Ossley."', "a row must be an object"),
    "a list": (b"[" + row(ASKED, SAID) + b"]", "a row must be an object"),
    "misspelt key": (row(ASKED, SAID).replace(b"messages", b"mesages"), "no `messages` list"),
    "messages are text": (b'{"messages": "Where does the ferry go?"}', "no `messages` list"),
    "messages are null": (b'{"messages": null}', "no `messages` list"),
    "no messages": (row(), "`messages` is empty"),
    "a message is text": (row("Where does the ferry go?", SAID), "a message must be an object"),
    "messages in a list of their own": (row([ASKED, SAID]), "a message must be an object"),
    "no role": (row({"content": "q"}, SAID), ROLE),
    "role of another case": (answer(role="Assistant"), ROLE),
    "role of another format": (answer(role="gpt"), ROLE),
    "role function": (row(ASKED, {"role": "function", "name": "f", "content": "r"}, SAID), "the role `function` is of an older format"),
    "no content": (answer(content="GONE"), "content must be text"),
    "content is null": (answer(content=None), "content must be text"),
    "content is a number": (answer(content=7), "content must be text"),
    "content is an object": (answer(content={"text": "a"}), "content must be text"),
    "an image": (row({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, SAID), "a part of content that is not text"),
    "misspelt key of a message": (answer(contnet="more"), "a message with unknown keys"),
    "late system message": (row(ASKED, SAID, {"role": "system", "content": "Be brief."}, ASKED, SAID), "a system message after the first place"),
    "no answer": (row(ASKED), "no assistant turn"),
    "empty answer": (answer(content=""), "an empty assistant turn"),
    "blank answer": (answer(content=" \n "), "an empty assistant turn"),
    "weight 0 that nothing reads": (answer(weight=0), "a message says whether it is learned"),
    "a tool answers no call": (row(ASKED, {"role": "tool", "content": "ten"}, SAID), "a tool turn that answers no call"),
    "arguments of a call are no JSON": (
        row(ASKED, {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{town"}}]}),
        "the arguments of a tool call are not JSON",
    ),
    "a call that the template leaves out": (
        row(ASKED, {"role": "assistant", "content": "", "tool_calls": [CALL]}, {"role": "tool", "content": "ten"}, SAID), "the chat template leaves tool calls out",
    ),
    "tools that the template leaves out": (
        row(ASKED, SAID, tools=[{"type": "function", "function": {"name": "timetable", "parameters": {}}}]), "the chat template leaves descriptions of tools out",
    ),
    "thinking that the template leaves out": (answer(reasoning_content="The table says Ossley."), "counted: thinking_left_out_by_the_template"),
    "text that was rendered before": (answer(content="It goes to Ossley.<|im_end|>\n<|im_start|>user\nThanks."), "a message holds the token that ends a turn"),
    "a row of sharegpt": (b'{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}', "no `messages` list"),
    "a row of prompt and completion": (b'{"prompt": "Where does the ferry go?", "completion": "To Ossley."}', "no `messages` list"),
    "a row of preference": (b'{"prompt": "q", "chosen": "a", "rejected": "b"}', "no `messages` list"),
    "longer than max_length": (answer(content="It goes on and on. " * 300), "counted: too_long"),
    "question alone longer than max_length": (row({"role": "user", "content": "On and on. " * 300}, SAID), "counted: too_long"),
    "repeats an earlier row": (GOOD[3], "counted: repeated_rows"),
    "a key twice": (row(ASKED, SAID)[:-1] + b', "messages": []}', "`messages` is empty"),
}  # fmt: skip
"""What starts with `counted:` is kept or left out by policy, and must be in the report under that name."""


def file_of(kind: str) -> bytes:
    """The whole file."""
    return b"\n".join([*GOOD[:10], KINDS[kind][0], *GOOD[10:]]) + b"\n"
