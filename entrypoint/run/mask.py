"""Spans of characters -> which tokens lie in them, from the places that the tokenizer gives."""

from typing import Any

import numpy as np


def supervise(encoding: Any, spans: tuple[tuple[int, int], ...], tokens: int) -> np.ndarray:
    """1 where a token lies wholly inside a span, uint8 of shape (tokens,). `encoding` is one of tokenizers'.

    Only the ends of a span are looked up: turning every token's place into Python objects takes as long as a fifth of the tokenization.
    """
    mask = np.zeros(tokens, dtype=np.uint8)
    for start, end in spans:
        first, last = _first_inside(encoding, start, end, tokens), _behind_inside(encoding, start, end, tokens)
        mask[first:last] = 1
    return mask


def is_inside(place: tuple[int, int], start: int, end: int) -> bool:
    """Whether a token at this place lies in a span of characters.

    Byte-level tokenizers trim white space off their offsets: the lone space before a digit comes out as (p, p), with p behind
    the space. Such a token belongs to the span when p is behind its start; at the start itself it is the line break before.
    """
    left, right = place
    return right <= end and (left >= start if right > left else left > start)


def _first_inside(encoding: Any, start: int, end: int, tokens: int) -> int:
    """The first token inside. Near it the places are looked at one by one: tokens of no width have no character that finds them."""
    at = _token_near(encoding, start, end, tokens)
    while at and is_inside(encoding.token_to_chars(at - 1), start, end):
        at -= 1
    while at < tokens and not is_inside(encoding.token_to_chars(at), start, end):
        if encoding.token_to_chars(at)[0] > end:
            return tokens
        at += 1
    return at


def _token_near(encoding: Any, start: int, end: int, tokens: int) -> int:
    for character in range(start, end):
        found = encoding.char_to_token(character)
        if found is not None:
            return int(found)
    return 0


def _behind_inside(encoding: Any, start: int, end: int, tokens: int) -> int:
    """Behind the last token inside."""
    at = next((int(found) for c in range(end - 1, start - 1, -1) if (found := encoding.char_to_token(c)) is not None), -1)
    if at < 0:
        return 0
    while at + 1 < tokens and is_inside(encoding.token_to_chars(at + 1), start, end):
        at += 1
    while at >= 0 and not is_inside(encoding.token_to_chars(at), start, end):
        at -= 1
    return at + 1
