"""Pickles under any name, by any protocol, made by the standard library: told by their content. Bytes that are none bring no traceback."""

import os
import pickle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

pytest.importorskip("hypothesis")  # of the host's environment alone

from hypothesis import given, settings
from hypothesis import strategies as st
from model_folder import model_files, write

from entrypoint.run.scan import scan_model
from entrypoint.run.sniff import sniff
from schemas.errors import GateRefused

FAST = settings(max_examples=400, deadline=None, derandomize=True)
CALLS = (os.system, os.getpid, print, eval, Path)
VOCABULARY = "vocab.txt"

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4) | st.tuples(inner, inner),
    max_leaves=10,
)


class Call:
    """What runs code when it is loaded."""

    def __init__(self, what: Any, argument: Any):
        self.what, self.argument = what, argument

    def __reduce__(self) -> tuple[Any, tuple[Any]]:
        return self.what, (self.argument,)


def told(content: bytes) -> str:
    with TemporaryDirectory() as folder:
        path = Path(folder) / VOCABULARY
        path.write_bytes(content)
        return sniff(path)


@FAST
@given(st.sampled_from(CALLS), plain, plain, st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_a_pickle_that_calls_something_is_told_wherever_the_call_stands(what: Any, argument: Any, beside: Any, protocol: int) -> None:
    assert told(pickle.dumps(Call(what, argument), protocol)) == "a pickle"
    assert told(pickle.dumps([beside, {"k": Call(what, argument)}], protocol)) == "a pickle"


@FAST
@given(st.sampled_from(["vocab.txt", "chat_template.jinja", "tokenizer.model", "config.json", "generation_config.json", "LICENSE"]), plain, st.integers(0, 5))
def test_under_no_name_of_a_model_folder_does_it_pass(name: str, argument: Any, protocol: int) -> None:
    with TemporaryDirectory() as folder, pytest.raises(GateRefused):
        scan_model(write(Path(folder) / "m", {**model_files(), name: pickle.dumps(Call(os.system, argument), protocol)}), "/models/m", False)


@FAST
@given(st.binary(max_size=400), st.sampled_from([b"", b"c", b"(", b"\x80", b"PK\x03\x04", b"ios\nsystem\n"]))
def test_any_bytes(content: bytes, start: bytes) -> None:
    told(start + content)


@FAST
@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=300))
def test_words_are_no_pickle(words: str) -> None:
    assert told(f"[PAD]\n{words}\n".encode()) == ""
