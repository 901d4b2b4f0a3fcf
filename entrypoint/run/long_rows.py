"""Ends of rows: what is done with those over max_length, and whether an end token is learned."""

from collections.abc import Callable

import numpy as np

from entrypoint.run.conversation import Message
from entrypoint.run.template import Encoded


def truncate(row: Encoded, limit: int, stops: frozenset[int]) -> Encoded | None:
    """The row's first tokens, at most `limit`, ending on the end token of the answer that was cut: a model that never sees an end never ends.

    A cut inside a question drops it and what follows, as there is nothing to learn behind it. None where no answer has a token left.
    """
    if len(row.ids) <= limit:
        return row
    learned = np.flatnonzero(row.supervised)
    at = limit - 1
    if at > 0 and row.supervised[at - 1] and row.supervised[at]:  # inside an answer, of which at least one token is kept
        ends = learned[learned >= at]
        ends = ends[np.isin(row.ids[ends], list(stops))]
        if len(ends):
            last = ends[0]
            return Encoded(np.append(row.ids[:at], row.ids[last]), np.append(row.supervised[:at], np.uint8(1)))
    whole = learned[learned < limit]
    # Behind the last end token that fits: the answer that is cut has none of its own.
    whole = whole[np.isin(row.ids[whole], list(stops))]
    return Encoded(row.ids[: whole[-1] + 1], row.supervised[: whole[-1] + 1]) if len(whole) else None


def split_tokens(row: Encoded, limit: int) -> list[Encoded]:
    """Raw text in pieces of at most `limit` tokens, in order and without overlap; the end token is the last piece's."""
    return [Encoded(row.ids[at : at + limit], row.supervised[at : at + limit]) for at in range(0, len(row.ids), limit)]


def split_turns(messages: tuple[Message, ...], fits: Callable[[tuple[Message, ...]], bool]) -> list[tuple[Message, ...]] | None:
    """A conversation as several, each as many whole exchanges as fit, each with the system message; None where one exchange alone does not.

    An exchange is a question with all that follows up to the next question: no call of a tool is parted from its answer.
    """
    head, rest = (messages[:1], messages[1:]) if messages[0]["role"] == "system" else ((), messages)
    starts = [at for at, m in enumerate(rest) if m["role"] == "user" and (at == 0 or rest[at - 1]["role"] != "user")]
    if not starts or starts[0] != 0:
        starts.insert(0, 0)
    exchanges = [rest[a:b] for a, b in zip(starts, [*starts[1:], len(rest)], strict=True)]
    pieces: list[tuple[Message, ...]] = []
    for exchange in exchanges:
        if pieces and fits((*pieces[-1], *exchange)):
            pieces[-1] = (*pieces[-1], *exchange)
        elif fits((*head, *exchange)):
            pieces.append((*head, *exchange))
        else:
            return None
    return [piece for piece in pieces if any(m["role"] == "assistant" for m in piece)]


def has_end(ids: np.ndarray, supervised: np.ndarray, stops: frozenset[int]) -> bool:
    """Whether the last few learned tokens hold one on which serving stops; a line break may lie behind it."""
    tail = ids[np.flatnonzero(supervised)[-3:]]
    return any(int(i) in stops for i in tail)
