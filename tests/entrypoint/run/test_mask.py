"""The mask by looked-up ends equals the one by every token's place."""

import random

import pytest

pytest.importorskip("transformers")

from tiny import tokenizer

from entrypoint.run.mask import is_inside, supervise

pytestmark = pytest.mark.image

LETTERS = [" ", "  ", "\n", "7", "42", "a", "word", "ü", "東京", "☂️", "<|im_end|>", "<|im_start|>", "\t", ".", " 5", "😀"]


def test_as_by_every_place():
    made, chance = tokenizer().backend_tokenizer, random.Random(3)
    for _ in range(2000):
        text = "".join(chance.choice(LETTERS) for _ in range(chance.randrange(1, 30)))
        borders = sorted(chance.randrange(len(text) + 1) for _ in range(4))
        spans = ((borders[0], borders[1]), (borders[2], borders[3]))
        encoding = made.encode(text, add_special_tokens=False)
        expected = [int(any(is_inside(place, *span) for span in spans)) for place in encoding.offsets]
        assert supervise(encoding, spans, len(encoding.ids)).tolist() == expected, (text, spans)
