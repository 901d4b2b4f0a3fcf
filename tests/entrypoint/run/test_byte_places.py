"""Places by the bytes of tokens equal those that the tokenizer gives."""

import json
import random

import pytest

pytest.importorskip("transformers")

import numpy as np
from tiny import tokenizer
from tokenizers import AddedToken, Tokenizer

from entrypoint.run.byte_places import byte_places
from entrypoint.run.mask import supervise

pytestmark = pytest.mark.image

LETTERS = [" ", "  ", "\n", "7", "42", "a", "word", "ü", "u\u0308", "東京", "☂️", "<|im_end|>", "<|im_start|>", "\t", ".", " 5", "😀", "\x04", "\u3000", "\xa0"]


def _changed(**parts: object) -> Tokenizer:
    said = json.loads(tokenizer().backend_tokenizer.to_str())
    return Tokenizer.from_str(json.dumps(said | parts))


def _byte_level(*, trims: bool, first: bool) -> dict[str, object]:
    return {"type": "ByteLevel", "add_prefix_space": first, "trim_offsets": trims, "use_regex": True}


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"post_processor": None},
        {"post_processor": _byte_level(trims=True, first=True)},
        {"post_processor": _byte_level(trims=True, first=False)},
        {"post_processor": _byte_level(trims=False, first=False), "normalizer": {"type": "NFC"}},
    ],
)
def test_as_the_tokenizer_says(parts):
    made, chance, met = _changed(**parts), random.Random(5), 0
    places = byte_places(made)
    for _ in range(1500):
        text = "".join(chance.choice(LETTERS) for _ in range(chance.randrange(0, 30)))
        if not places.is_kept(text):
            continue
        said, quick = made.encode(text, add_special_tokens=False), made.encode_batch_fast([text], add_special_tokens=False)[0]
        assert quick.ids == said.ids
        found = places.of(text, np.array(said.ids, dtype=np.int32))
        if found is None:  # a byte without a token
            continue
        met += 1
        assert [found.token_to_chars(at) for at in range(len(said.ids))] == said.offsets, text
        assert [found.char_to_token(at) for at in range(len(text))] == [said.char_to_token(at) for at in range(len(text))], text
        start, end = sorted(chance.randrange(len(text) + 1) for _ in range(2))
        assert np.array_equal(supervise(found, ((start, end),), len(said.ids)), supervise(said, ((start, end),), len(said.ids))), text
    assert met > 500


def test_a_text_that_the_tokens_are_not():
    made = _changed()
    made.add_tokens([AddedToken("<tool>", lstrip=True)])
    places, text = byte_places(made), "a   <tool> b"
    assert places.of(text, np.array(made.encode(text, add_special_tokens=False).ids)) is None


@pytest.mark.parametrize(
    "parts",
    [
        {"normalizer": {"type": "Lowercase"}},
        {"pre_tokenizer": _byte_level(trims=True, first=True)},
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}, _byte_level(trims=True, first=False)]}},
        {"pre_tokenizer": None},
    ],
)
def test_none_where_tokens_are_not_the_text(parts):
    assert byte_places(_changed(**parts)) is None


def test_composed_texts_alone():
    places = byte_places(_changed(normalizer={"type": "NFC"}))
    assert places.is_kept("ü") and not places.is_kept("u\u0308")
