"""The two ways in which servers give log-probabilities of a prompt's tokens, and what they say read into arrays.

vLLM has `prompt_logprobs`: tokens by their ids, each with its text. Others have the older `echo` with `logprobs`: tokens by their texts, or as `token_id:N`
where they understand `return_tokens_as_token_ids`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from entrypoint.run.teacher_endpoint import Declined, TeacherEndpoint
from entrypoint.run.token_texts import FAMILY, TokenTexts
from schemas.errors import GateRefused

TOKEN_ID = "token_id:"
OVER_ONE = 1e-3
"""By which probabilities may add up to more: a server may compute them in 16 bits."""

NEVER = -9999.0
"""Stands for a probability of nothing, as with vLLM: times its own probability, infinity would be no number."""

NOT_LOGPROBS = "start the server so that it gives log-probabilities: for vLLM --logprobs-mode raw_logprobs, its default"
UNLIKE = (KeyError, TypeError, ValueError, AttributeError, OverflowError)
"""What reading an answer of another shape ends with; OverflowError: a number of four hundred digits."""

OTHER_SERVER = "use a server that gives them, such as vLLM; its completions take token ids and prompt_logprobs"


@dataclass(frozen=True)
class Answer:
    """The teacher's likeliest tokens at places of one row, likeliest first."""

    ids: np.ndarray
    """int32 of shape (places, k)."""

    logprobs: np.ndarray
    """float32, likewise."""


class Form(Protocol):
    """One way of asking."""

    name: str

    def ask(self, endpoint: TeacherEndpoint, ids: list[int], k: int) -> dict[str, Any]:
        """The choice of a completion with what the server says of the prompt. Raises Declined."""

    def places(self, choice: dict[str, Any], count: int) -> list[list[tuple[int, float]]] | None:
        """For each token of the prompt what the server names there, in any order, the first place empty; None where it names nothing."""

    def stranger(self, choice: dict[str, Any], ids: list[int]) -> int | None:
        """The first place at which the answer is about another token than the prompt has; None where there is none, or nothing says so."""

    def texts(self, choice: dict[str, Any]) -> Iterator[tuple[int, str]]:
        """Every id that an answer gives the text of."""


class PromptLogprobs:
    """vLLM's."""

    name = "prompt_logprobs"

    def ask(self, endpoint: TeacherEndpoint, ids: list[int], k: int) -> dict[str, Any]:
        """As Form."""
        return endpoint.complete(prompt=ids, prompt_logprobs=k)

    def places(self, choice: dict[str, Any], count: int) -> list[list[tuple[int, float]]] | None:
        """As Form. The token that stands there is named too, be it likely or not."""
        found = choice.get("prompt_logprobs")
        if not isinstance(found, list) or len(found) != count:
            return None
        return [[(int(token), float(told["logprob"])) for token, told in (place or {}).items()] for place in found]

    def stranger(self, choice: dict[str, Any], ids: list[int]) -> int | None:
        """As Form."""
        places = enumerate(choice["prompt_logprobs"])
        return next((at for at, place in places if at and ids[at] not in {int(token) for token in place or {}}), None)

    def texts(self, choice: dict[str, Any]) -> Iterator[tuple[int, str]]:
        """As Form."""
        for place in choice.get("prompt_logprobs") or ():
            for token, told in (place or {}).items():
                if isinstance(told.get("decoded_token"), str):
                    yield int(token), told["decoded_token"]


class Echo:
    """That of OpenAI's completions."""

    name = "echo with logprobs"

    def __init__(self, known: TokenTexts):
        self.known = known

    def ask(self, endpoint: TeacherEndpoint, ids: list[int], k: int) -> dict[str, Any]:
        """As Form."""
        return endpoint.complete(prompt=ids, echo=True, logprobs=k, return_tokens_as_token_ids=True)

    def places(self, choice: dict[str, Any], count: int) -> list[list[tuple[int, float]]] | None:
        """As Form. What is written behind the prompt is left out."""
        found = choice.get("logprobs")
        tops = found.get("top_logprobs") if isinstance(found, dict) else None
        if not isinstance(tops, list) or len(tops) < count:
            return None
        return [[(self._id(text), float(value)) for text, value in (place or {}).items()] for place in tops[:count]]

    def stranger(self, choice: dict[str, Any], ids: list[int]) -> int | None:
        """As Form. Texts of parts of characters say nothing."""
        tokens = choice["logprobs"].get("tokens") or ()
        return next((at for at, (text, token) in enumerate(zip(tokens, ids, strict=False)) if not self._may_be(text, token)), None)

    def _may_be(self, text: str, token: int) -> bool:
        return int(text.removeprefix(TOKEN_ID)) == token if text.startswith(TOKEN_ID) else self.known.may_be(token, text)

    def _id(self, text: str) -> int:
        return int(text.removeprefix(TOKEN_ID)) if text.startswith(TOKEN_ID) else self.known.only_id(text)

    def texts(self, choice: dict[str, Any]) -> Iterator[tuple[int, str]]:
        """None: a text that stands for one token alone was looked up by it, and ids have no texts."""
        return iter(())


def find_form(endpoint: TeacherEndpoint, ids: list[int], k: int, known: TokenTexts) -> Form:
    """The first form in which the server says something of a row's tokens. Raises GateRefused with what it answered to each."""
    said = []
    for form in (PromptLogprobs(), Echo(known)):
        try:
            choice = form.ask(endpoint, ids, k)
        except Declined as error:
            said.append(f"to {form.name}={k} it answers {error.said}")
            continue
        if _places(form, choice, len(ids)) is not None:
            return form
        said.append(f"to {form.name}={k} it answers with nothing about the prompt")
    fix = OTHER_SERVER
    if any("greater than max" in one for one in said):
        fix = f"start it with --max-logprobs {k}, or write a smaller top_k"
    elif any("vocabulary" in one for one in said):
        fix = FAMILY
    raise GateRefused(f"method.endpoint: {endpoint.url} gives no log-probabilities of a prompt's tokens: {'; '.join(said)}", fix)


def _places(form: Form, choice: dict[str, Any], count: int) -> list[list[tuple[int, float]]] | None:
    """None also where the answer is of another shape than the form has."""
    try:
        return form.places(choice, count)
    except UNLIKE:
        return None


def texts_of(form: Form, choice: dict[str, Any]) -> list[tuple[int, str]]:
    """All of form.texts. Raises GateRefused where the answer is of another shape than the form has."""
    try:
        return list(form.texts(choice))
    except UNLIKE:
        raise GateRefused(f"method.endpoint: an answer to {form.name} has another shape than those before it", OTHER_SERVER) from None


def _check_prompt(form: Form, choice: dict[str, Any], row: list[int]) -> None:
    """Raise GateRefused where the answer is about another prompt: a cache or a proxy that takes one request for another."""
    try:
        place = form.stranger(choice, row)
    except UNLIKE:
        raise GateRefused(f"method.endpoint: an answer to {form.name} has another shape than those before it", OTHER_SERVER) from None
    if place is not None:
        raise GateRefused(
            f"method.endpoint: an answer is about another prompt than was sent: token {place} of {len(row)} is another one",
            "look for a cache or a proxy between here and the server, and ask the server itself",
        )


def read_answer(form: Form, choice: dict[str, Any], row: list[int], at: np.ndarray, k: int, known: TokenTexts) -> Answer:
    """What the teacher said at the places `at` of a row of these tokens. Raises GateRefused where that cannot be learned from."""
    places = _places(form, choice, len(row))
    if places is None:
        raise GateRefused(f"method.endpoint: an answer to {form.name} says nothing about the prompt, others did", OTHER_SERVER)
    _check_prompt(form, choice, row)
    for token, text in texts_of(form, choice):
        known.check(token, text)
    ids, logprobs = np.empty((len(at), k), np.int32), np.empty((len(at), k), np.float32)
    for line, place in enumerate(at):
        best = sorted(places[place], key=lambda named: (-named[1], named[0]))[:k]
        if len(best) < k:
            raise GateRefused(f"method.endpoint: {k} tokens were asked for at each place, an answer names {len(best)}", OTHER_SERVER)
        for token, _ in best:
            known.check_id(token)
        if len({token for token, _ in best}) < k:
            raise GateRefused("method.endpoint: an answer names one token twice at a place", OTHER_SERVER)
        ids[line], logprobs[line] = zip(*best, strict=True)
    logprobs = np.maximum(logprobs, NEVER)
    if not np.isfinite(logprobs).all() or (logprobs > OVER_ONE).any() or (len(at) and np.exp(logprobs.astype(np.float64)).sum(1).max() > 1 + OVER_ONE):
        worst = float(np.nanmax(logprobs)) if logprobs.size else math.nan
        raise GateRefused(f"method.endpoint: the answers are no log-probabilities: the largest is {worst:g}, or together they are over 1", NOT_LOGPROBS)
    return Answer(ids, logprobs)
