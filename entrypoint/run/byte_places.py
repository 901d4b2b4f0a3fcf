"""Where tokens lie in a text, from the bytes of the tokens alone: the tokenizer's own places cost it a sixth of its time.

Only for byte-level tokenizers, whose tokens put together are the text, byte for byte. A place is what the tokenizer itself would say.
"""

import json
import unicodedata
from array import array
from dataclasses import dataclass
from typing import Any

import numpy as np

SPACE = "Ġ"
"""What a byte-level vocabulary writes for a space: the only sign that is trimmed off a place, beside white space of added tokens."""

SPLITTERS = frozenset(("ByteLevel", "Digits", "Split"))


@dataclass(frozen=True, slots=True)
class Place:
    """Tokens of one text; answers as tokenizers' Encoding does, in characters."""

    ends: np.ndarray
    """Behind each token, in bytes: int64 of shape (tokens,)."""

    ids: np.ndarray
    letters: np.ndarray | None
    """Character of each byte, int64 of shape (bytes,); None where one is the other."""

    before: "array[int]"
    behind: "array[int]"
    """White space at either end of each token of the vocabulary, in characters."""

    keeps_first: bool

    def token_to_chars(self, at: int) -> tuple[int, int]:
        """From the first character of which the token holds a byte to behind the last one, white space trimmed."""
        start, end = self.ends.item(at - 1) if at else 0, self.ends.item(at)
        if self.letters is not None:
            start, end = self.letters.item(start), self.letters.item(end - 1) + 1
        token = self.ids.item(at)
        before, behind = self.before[token], self.behind[token]
        if before and self.keeps_first and (at == 0 or start == 0):
            before -= 1
        left = min(start + before, end)
        return left, max(end - behind, left) if end >= behind else end

    def char_to_token(self, character: int) -> int | None:
        """The first token with this character; None for white space that is trimmed off."""
        byte = character if self.letters is None else int(self.letters.searchsorted(character))
        at = int(self.ends.searchsorted(byte, "right"))
        if at == len(self.ends):
            return None
        left, right = self.token_to_chars(at)
        return at if left <= character < right else None


class BytePlaces:
    """The bytes of every token of a vocabulary."""

    def __init__(self, backend: Any, *, composed: bool, trims: bool, keeps_first: bool):
        self.composed, self.keeps_first = composed, keeps_first
        tokens, added = backend.get_vocab(with_added_tokens=True), backend.get_added_tokens_decoder()
        self.unknown = bytes(byte for sign, byte in _signs().items() if sign not in tokens)
        """Without a token of their own: what stands for them tells nothing of its place."""
        size = max(tokens.values()) + 1
        self.sizes = np.zeros(size, dtype=np.int64)
        self.before, self.behind = array("H", bytes(2 * size)), array("H", bytes(2 * size))
        for token, at in tokens.items():
            self.sizes[at] = len(token.encode()) if at in added else len(token)  # a letter a byte
            if trims:
                self.before[at], self.behind[at] = _white(token), _white(token[::-1])

    def is_kept(self, text: str) -> bool:
        """Whether the tokenizer takes this text as it stands."""
        return not self.composed or unicodedata.is_normalized("NFC", text)

    def of(self, text: str, ids: np.ndarray) -> Place | None:
        """None where the tokens are not the text: an added token may take white space in, and a byte may be unknown."""
        raw = text.encode()
        ends = self.sizes[ids].cumsum()
        if (ends.item(-1) if len(ends) else 0) != len(raw) or len(raw.translate(None, self.unknown)) != len(raw):
            return None
        letters = None if len(raw) == len(text) else ((np.frombuffer(raw, dtype=np.uint8) & 0xC0) != 0x80).cumsum() - 1
        return Place(ends, ids, letters, self.before, self.behind, self.keeps_first)


def _white(token: str) -> int:
    return next((at for at, sign in enumerate(token) if sign != SPACE and not sign.isspace()), len(token))


def byte_places(backend: Any) -> BytePlaces | None:
    """For a tokenizer whose tokens are the text; None for one that drops, adds or rewrites a part of it, as far as its parts tell."""
    said = json.loads(backend.to_str())
    model = said["model"]
    before, behind = _parts(said["pre_tokenizer"], "pretokenizers"), _parts(said["post_processor"], "processors")
    changes = _parts(said["normalizer"], "normalizers")
    plain = (
        model.get("type") == "BPE"
        and not (model.get("dropout") or model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"))
        and [part["type"] for part in changes] in ([], ["NFC"])
        and {part["type"] for part in before} <= SPLITTERS
        and [part["add_prefix_space"] for part in before if part["type"] == "ByteLevel"] == [False]
        and not any(part.get("behavior") == "Removed" for part in before)
        and {part["type"] for part in behind} <= {"ByteLevel", "TemplateProcessing"}
    )
    if not plain:
        return None
    trimming = [part for part in behind if part["type"] == "ByteLevel" and part["trim_offsets"]]
    if len(trimming) > 1:
        return None
    return BytePlaces(backend, composed=bool(changes), trims=bool(trimming), keeps_first=any(part["add_prefix_space"] for part in trimming))


def _parts(part: dict[str, Any] | None, inside: str) -> list[dict[str, Any]]:
    """A part of a tokenizer, or those of a sequence."""
    if part is None:
        return []
    return [one for each in part[inside] for one in _parts(each, inside)] if part["type"] == "Sequence" else [part]


def _signs() -> dict[str, int]:
    """What byte-level vocabularies write for the 256 bytes: printable ones as they are, the others from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + at): byte for at, byte in enumerate(others)}
