"""Conversation -> tokens and which of them are learned, by the model's own chat template."""

from dataclasses import dataclass
from typing import Any

import numpy as np


class TemplateFault(Exception):
    """The template cannot render this conversation so that its assistant turns can be told apart."""

    def __init__(self, reason: str, detail: str = ""):
        self.reason, self.detail = reason, detail
        super().__init__(reason)


@dataclass(frozen=True)
class Encoded:
    """Token ids, int32, and 1 where a token carries loss, uint8; both of shape (tokens,)."""

    ids: np.ndarray
    supervised: np.ndarray


class Renderer:
    """Holds the tokenizer and the tokens on which serving stops."""

    def __init__(self, tokenizer: Any, stop_ids: frozenset[int], loss_on: str):
        self.tokenizer, self.loss_on = tokenizer, loss_on
        self.stops = tuple(sorted({token for i in stop_ids if (token := tokenizer.convert_ids_to_tokens(i))}, key=len, reverse=True))

    def render(self, messages: tuple[dict[str, str], ...]) -> tuple[str, list[tuple[int, int]]]:
        """The conversation as text, and the character spans that are learned.

        A span runs from where generation starts to the end of the token on which serving stops: without that token
        in the loss a tuned model never ends its answers (trl#1623, alignment-handbook#127).
        """
        full = self._apply(messages)
        if self.loss_on == "all":
            return full, [(0, len(full))]
        spans = []
        for at, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before = self._apply(messages[:at], generate=True)
            after = self._apply(messages[: at + 1])
            if not (full.startswith(before) and full.startswith(after) and after.startswith(before)):
                raise TemplateFault("the chat template rewrites earlier turns", f"turn {at + 1} does not stay as it was generated")
            spans.append((len(before), self._end_of_turn(after, len(before), at)))
        return full, spans

    def encode(self, rows: list[tuple[str, list[tuple[int, int]]]]) -> list[Encoded]:
        """Tokens of rendered rows; a token is learned when it lies wholly inside a span."""
        batch = self.tokenizer([text for text, _ in rows], add_special_tokens=False, return_offsets_mapping=True)
        found = []
        for ids, offsets, (_, spans) in zip(batch["input_ids"], batch["offset_mapping"], rows, strict=True):
            places = np.asarray(offsets, dtype=np.int64).reshape(-1, 2)
            mask = np.zeros(len(ids), dtype=np.uint8)
            for start, end in spans:
                mask[_inside(places, start, end)] = 1
            found.append(Encoded(np.asarray(ids, dtype=np.int32), mask))
        return found

    def prompt_ids(self, messages: tuple[dict[str, str], ...]) -> list[int]:
        """What serving must see for these messages."""
        return list(self.tokenizer(self._apply(messages, generate=True), add_special_tokens=False)["input_ids"])

    def _apply(self, messages: tuple[dict[str, str], ...], generate: bool = False) -> str:
        from jinja2 import TemplateError

        if not messages:
            return ""
        try:
            return str(self.tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=generate))
        except (TemplateError, TypeError, ValueError, LookupError, AttributeError) as error:  # a template is a program, and may be a wrong one
            raise TemplateFault("the chat template refuses the conversation", str(error)) from None

    def _end_of_turn(self, text: str, start: int, at: int) -> int:
        ends = [found + len(stop) for stop in self.stops if (found := text.rfind(stop, start)) >= 0]
        if not ends:
            raise TemplateFault("no end-of-turn token that serving stops on", f"turn {at + 1}; stops: {', '.join(self.stops)}")
        return max(ends)


def _inside(places: np.ndarray, start: int, end: int) -> np.ndarray:
    """Which tokens lie in a span of characters, by their offsets of shape (tokens, 2).

    Byte-level tokenizers trim white space off their offsets: the lone space before a digit comes out as (p, p), with p behind
    the space. Such a token belongs to the span when p is behind its start; at the start itself it is the line break before.
    """
    wide = places[:, 1] > places[:, 0]
    after = np.where(wide, places[:, 0] >= start, places[:, 0] > start)
    return np.asarray(after & (places[:, 1] <= end))


def stop_ids(tokenizer: Any, generation_config: dict[str, Any]) -> frozenset[int]:
    """The tokens on which an engine ends an answer: generation_config.json's, and the tokenizer's end token."""
    given = generation_config.get("eos_token_id")
    found = [*(given if isinstance(given, list) else [given]), tokenizer.eos_token_id]
    return frozenset(i for i in found if isinstance(i, int) and 0 <= i < len(tokenizer))
