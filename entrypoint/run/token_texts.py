"""The model's tokens as texts, to be compared with those of a server that has another copy of the tokenizer, or another one."""

from collections import Counter
from typing import Any

from schemas.errors import GateRefused

FAMILY = "choose a teacher of the same family, whose tokenizer is the model's"
CUT = "\ufffd"
"""Stands in the text of a token that is a part of a character: servers put its neighbours' bytes to it, each in its own way."""


class TokenTexts:
    """Each id of a tokenizer as text."""

    def __init__(self, tokenizer: Any, head: int):
        """`head` is the number of entries of the model's output, which may be more than the tokens."""
        self.count, self.head = len(tokenizer), max(head, len(tokenizer))
        self.texts = [tokenizer.decode([token]) for token in range(self.count)]
        self.pieces = tokenizer.convert_ids_to_tokens(list(range(self.count)))
        often = Counter(self.texts)
        self.single = {text: token for token, text in enumerate(self.texts) if often[text] == 1}

    def check(self, token: int, text: str) -> None:
        """Raise GateRefused where the server's text of a token is not the model's."""
        self.check_id(token)
        if not self.may_be(token, text):
            mine = self.texts[token]
            raise GateRefused(f"method.endpoint: the teacher's tokenizer is not the model's: token {token} is {text!r} there and {mine!r} here", FAMILY)

    def may_be(self, token: int, text: str) -> bool:
        """Whether a server may give that text to this token."""
        mine = self.texts[token] if token < self.count else CUT
        return CUT in text or CUT in mine or text in (mine, self.pieces[token])

    def check_id(self, token: int) -> None:
        """Raise GateRefused for a token that the model does not have."""
        if not 0 <= token < self.head:
            raise GateRefused(f"method.endpoint: the teacher's tokenizer is not the model's: it knows token {token}, the model has {self.head}", FAMILY)

    def only_id(self, text: str) -> int:
        """The token with this text. Raises GateRefused where several have it, or none."""
        if text not in self.single:
            several = "several tokens of the model have" if text in self.texts else "no token of the model has"
            fix = f"{FAMILY}; or use a server that names tokens by their ids, such as vLLM"
            raise GateRefused(f"method.endpoint: the server names tokens by their texts, and {several} the text {text!r}", fix)
        return self.single[text]
