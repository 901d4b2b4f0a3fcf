"""Row -> tokens and which of them are learned, by the chat template that serving will use."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from entrypoint.run.byte_places import byte_places
from entrypoint.run.conversation import Message
from entrypoint.run.mask import supervise
from entrypoint.run.rejection import Fault
from entrypoint.run.rows import Row

REWRITES = "the chat template rewrites earlier turns"


class TemplateFault(Fault):
    """The template cannot render this conversation so that its assistant turns can be told apart."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids, int32, and 1 where a token carries loss, uint8; both of shape (tokens,)."""

    ids: np.ndarray
    supervised: np.ndarray


@dataclass(frozen=True, slots=True)
class Rendered:
    """One sequence as text, and the character spans that are learned."""

    text: str
    spans: tuple[tuple[int, int], ...]
    raw: bool = False
    """No template: the tokenizer's own start token before it, its end-of-text token behind it."""

    thoughts_left_out: bool = False
    """The template does not show the thinking of a turn that is learned."""


class Renderer:
    """Holds the tokenizer, its template, and the tokens on which serving stops."""

    def __init__(self, tokenizer: Any, stop_ids: frozenset[int], loss_on: str):
        self.tokenizer, self.loss_on, self.stop_ids = tokenizer, loss_on, stop_ids
        self.stops = tuple(sorted({token for i in stop_ids if (token := tokenizer.convert_ids_to_tokens(i))}, key=len, reverse=True))
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise TypeError("a tokenizer without a fast backend gives no offsets, and so no mask")
        backend.no_truncation()  # tokenizer.json may ask for both
        backend.no_padding()
        backend.encode_special_tokens = False
        self.backend, self.places = backend, byte_places(backend)

    def render(self, row: Row) -> list[Rendered]:
        """The sequences of a row: one, or chosen and rejected of a pair. Where the template rewrites earlier turns, one for each turn that is
        learned, each as serving would see it when that turn is generated. Raises TemplateFault.

        A span runs from where generation starts to the end of the token on which serving stops: without that token in the loss a tuned
        model never ends its answers (trl#1623, alignment-handbook#127).
        """
        if row.kind == "raw":
            return [Rendered(row.text, (), raw=True)]
        tools = list(row.tools) or None
        if row.kind == "pair":
            return [self._sequence(side, tools, _turns(side, row.answer)) for side in (row.messages, row.rejected)]
        if row.kind == "labelled":
            return [self._sequence(row.messages, tools, _turns(row.messages, row.answer))]
        learned = self._learned(row.messages)
        try:
            return [self._sequence(row.messages, tools, learned)]
        except TemplateFault as fault:
            if fault.reason != REWRITES or len(learned) < 2:
                raise
            return [self._sequence(row.messages[: at + 1], tools, [at]) for at in learned]

    def _learned(self, messages: tuple[Message, ...]) -> list[int]:
        """Places of the turns that carry loss."""
        turns = _turns(messages, 0)
        if self.loss_on == "last":
            return turns[-1:]
        return [at for at in turns if messages[at].get("weight", 1)] if self.loss_on == "weight" else turns

    def _sequence(self, messages: tuple[Message, ...], tools: list[Message] | None, learned: list[int]) -> Rendered:
        if self.loss_on == "weight":
            messages = tuple({k: v for k, v in m.items() if k != "weight"} for m in messages)
        self._check_texts(messages)
        full = self._apply(messages, tools)
        self._check_tools(full, messages, tools)
        if self.loss_on == "all":
            return Rendered(full, ((0, len(full)),), thoughts_left_out=_lacks_thoughts(full, messages, _turns(messages, 0)))
        spans = []
        for at in learned:
            before = self._apply(messages[:at], tools, generate=True)
            after = full if at == len(messages) - 1 else self._apply(messages[: at + 1], tools)
            if not (full.startswith(before) and full.startswith(after) and after.startswith(before)):
                raise TemplateFault(REWRITES, f"turn {at + 1} does not stay as it was generated")
            spans.append((len(before), self._end_of_turn(after, len(before), at)))
        return Rendered(full, tuple(spans), thoughts_left_out=_lacks_thoughts(full, messages, learned))

    def _check_texts(self, messages: tuple[Message, ...]) -> None:
        """A text that holds the token which ends a turn, mostly one that went through a template before, would end it in the middle."""
        for at, message in enumerate(messages, start=1):
            if held := next((stop for stop in self.stops if stop in message["content"]), None):
                raise TemplateFault("a message holds the token that ends a turn", f"message {at} has {held}")

    def _check_tools(self, full: str, messages: tuple[Message, ...], tools: list[Message] | None) -> None:
        """A template without tools would show an empty turn where a call was, and teach it."""
        described = [t["function"]["name"] for t in tools or ()]
        called = [c["function"]["name"] for m in messages for c in m.get("tool_calls", ())]
        for what, names in (("descriptions of tools", described), ("tool calls", called)):
            if gone := next((name for name in names if name not in full), None):
                raise TemplateFault(f"the chat template leaves {what} out", gone)

    def encode(self, rows: Iterable[Rendered]) -> list[Encoded]:
        """Tokens of rendered rows; a token is learned when it lies wholly inside a span."""
        rows = list(rows)
        return self.finish(rows, self.tokenize(rows))

    def tokenize(self, rows: list[Rendered]) -> list[Any]:
        """The tokenizer's own encodings: on all cores, without the interpreter's lock; without places where those follow from the tokens."""
        if rows and all(row.raw for row in rows):
            return list(self.backend.encode_batch_fast([row.text for row in rows], add_special_tokens=True))
        if self.places is None or not all(self.places.is_kept(row.text) for row in rows):
            return list(self.backend.encode_batch([row.text for row in rows], add_special_tokens=False))
        return list(self.backend.encode_batch_fast([row.text for row in rows], add_special_tokens=False))

    def finish(self, rows: list[Rendered], encodings: list[Any]) -> list[Encoded]:
        """Encodings as arrays, with what is learned."""
        found = []
        for row, encoding in zip(rows, encodings, strict=True):
            if row.raw:
                found.append(self._end_raw(encoding.ids))
            else:
                ids = _as_array(encoding.ids)
                found.append(Encoded(ids, supervise(self._places(row.text, ids, encoding), row.spans, len(ids))))
        return found

    def _places(self, text: str, ids: np.ndarray, encoding: Any) -> Any:
        """Something that tells where tokens lie."""
        if self.places is None:
            return encoding
        if self.places.is_kept(text) and (found := self.places.of(text, ids)):
            return found
        return self.backend.encode(text, add_special_tokens=False)

    def _end_raw(self, ids: list[int]) -> Encoded:
        end = self.tokenizer.eos_token_id
        if not ids or ids[-1] != end:
            ids.append(end)
        return Encoded(_as_array(ids), np.ones(len(ids), dtype=np.uint8))

    def prompt_ids(self, messages: tuple[Message, ...], tools: tuple[Message, ...] = ()) -> list[int]:
        """What serving must see for these messages. Raises TemplateFault, also where the template leaves the tools out."""
        text = self._apply(messages, list(tools) or None, generate=True)
        self._check_tools(text, messages, list(tools) or None)
        return list(self.backend.encode(text, add_special_tokens=False).ids)

    def _apply(self, messages: tuple[Message, ...], tools: list[Message] | None = None, generate: bool = False) -> str:
        from jinja2 import TemplateError

        if not messages:
            return ""
        try:
            return str(self.tokenizer.apply_chat_template(list(messages), tools=tools, tokenize=False, add_generation_prompt=generate))
        except (TemplateError, TypeError, ValueError, LookupError, AttributeError) as error:  # a template is a program, and may be a wrong one
            raise TemplateFault("the chat template refuses the conversation", str(error)) from None

    def _end_of_turn(self, text: str, start: int, at: int) -> int:
        ends = [found + len(stop) for stop in self.stops if (found := text.rfind(stop, start)) >= 0]
        if not ends:
            raise TemplateFault("no end-of-turn token that serving stops on", f"turn {at + 1}; stops: {', '.join(self.stops)}")
        return max(ends)


def _as_array(ids: list[int]) -> np.ndarray:
    """int32 of shape (tokens,), in half the time that numpy takes for a list."""
    return np.frombuffer(array("i", ids), dtype=np.int32)


def _turns(messages: tuple[Message, ...], start: int) -> list[int]:
    return [at for at, m in enumerate(messages) if at >= start and m["role"] == "assistant"]


def _lacks_thoughts(full: str, messages: tuple[Message, ...], learned: list[int]) -> bool:
    thoughts = [messages[at]["reasoning_content"].strip() for at in learned if "reasoning_content" in messages[at]]
    return any(thought not in full for thought in thoughts)


def stop_ids(tokenizer: Any, generation_config: dict[str, Any]) -> frozenset[int]:
    """The tokens on which an engine ends an answer: generation_config.json's, and the tokenizer's end token."""
    given = generation_config.get("eos_token_id")
    found = [*(given if isinstance(given, list) else [given]), tokenizer.eos_token_id]
    return frozenset(i for i in found if isinstance(i, int) and 0 <= i < len(tokenizer))
