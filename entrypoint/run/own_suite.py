"""The suite `own`: the run's validation rows, answered and weighed through the served endpoint, so that the same is asked of any model there."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entrypoint.run.answer_texts import exact_match, refuses, repeats, token_f1
from entrypoint.run.endpoint import Endpoint, Unanswered
from entrypoint.run.own_rows import OwnRow, Text, read_rows
from schemas.evaluation import OWN, Question, Side, SuiteResult, excerpt
from schemas.method import RowKind

ROWS = 500
"""Validation rows that are asked at most, drawn by the seed: a share of them is known to within four points."""

ROOM, LEAST_ROOM = 4, 256
"""An answer has room for so many times the longest expected one, and at least for so many tokens: one that fills it does not stop."""

DECLINED = (400, 422)
"""A server that does not know the wish, or a row that is too long for it."""

NO_LOGPROBS = "the endpoint gives no log-probabilities of a prompt"
Decode = Callable[[list[int]], str]


@dataclass(frozen=True)
class Asked:
    """What decides the answers."""

    kind: RowKind
    raw: bool = False
    """Continued pre-training: text without questions."""

    limit: int = ROWS
    seed: int = 0
    requests: int = 8
    """At once."""

    length: int | None = None
    """Tokens that the server takes, prompt and answer together; None: not known."""


def ask_own(prepared: Path, decode: Decode, endpoint: Endpoint, side: Side, asked: Asked, tell: Callable[[int, int], None] | None = None) -> SuiteResult:
    """Ask one model about every chosen validation row. `decode` makes text of token ids, without special tokens; `tell` hears rows done, of all."""
    rows = read_rows(prepared, asked.kind, asked.limit, asked.seed)
    own = _Asking(endpoint, decode, asked, room_of(rows))
    start, questions = time.monotonic(), []
    with ThreadPoolExecutor(asked.requests) as pool:
        try:
            for done, question in enumerate(pool.map(own.question, rows), 1):
                questions.append(question)
                if tell:
                    tell(done, len(rows))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    settings = {"temperature": 0, "most_tokens": own.room, "rows": len(rows), "limit": asked.limit, "seed": asked.seed}
    return SuiteResult(
        suite=OWN, kind="validation", source="validation rows, as prepared", side=side, served_name=endpoint.model, metric=metric_of(asked),
        tool="caisson", settings=settings, questions=tuple(questions), missing=own.missing(questions), retried=endpoint.retried,
        seconds=round(time.monotonic() - start, 3),
    )  # fmt: skip


def metric_of(asked: Asked) -> str:
    """What the score of a row is."""
    if asked.kind == "pair":
        return "preference_accuracy"
    return "next_token" if asked.raw else "exact_match"


def room_of(rows: list[OwnRow]) -> int:
    """Tokens that an answer may have."""
    return max(LEAST_ROOM, ROOM * max((len(row.expected) for row in rows), default=0))


class _Asking:
    def __init__(self, endpoint: Endpoint, decode: Decode, asked: Asked, room: int):
        self.endpoint, self.decode, self.asked, self.room = endpoint, decode, asked, room

    def question(self, row: OwnRow) -> Question:
        """One row; what goes wrong with it is its error."""
        asks = bool(row.prompt) and not self.asked.raw
        expected = self.decode(row.expected).strip() if asks else ""
        told: dict[str, Any] = {"id": row.id, "prompt": excerpt(self.decode(row.prompt or row.text.ids)), "expected": excerpt(expected), "ended": "stop"}
        start, scores = time.monotonic(), {}
        try:
            scores = self._weigh(row)
            if asks:
                said = self._answer(row, expected)
                scores |= said["scores"]
                told |= said
            why = self._why_no_score(scores)
        except Unanswered as unanswered:
            why, scores, told["ended"] = unanswered.what, {}, "none"
        score = scores.pop(metric_of(self.asked), None)
        return Question(**(told | {"scores": scores}), score=score, seconds=round(time.monotonic() - start, 3), error=why)

    def _why_no_score(self, scores: dict[str, float]) -> str:
        """Empty where there is one."""
        metric = metric_of(self.asked)
        if metric in scores:
            return ""
        return "all of the row is learned: it has no question" if metric == "exact_match" else NO_LOGPROBS

    def missing(self, questions: list[Question]) -> dict[str, str]:
        """Metrics that no question has, for want of log-probabilities."""
        weighed = any("nats" in question.scores for question in questions)
        return {} if weighed or not questions else dict.fromkeys(("loss", "perplexity"), NO_LOGPROBS)

    def _answer(self, row: OwnRow, expected: str) -> dict[str, Any]:
        room = min(self.room, self.asked.length - len(row.prompt)) if self.asked.length else self.room
        found = self.endpoint.complete(prompt=row.prompt, max_tokens=max(1, room), temperature=0, seed=self.asked.seed)
        choice, usage = found["choices"][0], found.get("usage") or {}
        text, cut = str(choice.get("text") or "").strip(), choice.get("finish_reason") == "length"
        scores = {
            "exact_match": exact_match(text, expected), "token_f1": token_f1(text, expected), "refusal": float(refuses(text) and not refuses(expected)),
            "repetition": float(repeats(text) and not repeats(expected)), "unfinished": float(cut),
        }  # fmt: skip
        return {"answer": excerpt(text), "tokens": usage.get("completion_tokens"), "ended": "cut" if cut else "stop", "scores": scores}

    def _weigh(self, row: OwnRow) -> dict[str, float]:
        """Log-probabilities of the learned tokens: their sum and number, the share that was the first choice, and which side of a pair is likelier."""
        chosen = self._logprobs(row.text)
        if chosen is None:
            return {}
        values = [value for value, _ in chosen]
        found = {"nats": -sum(values), "learned": float(len(values)), "next_token": sum(rank == 1 for _, rank in chosen) / len(values)}
        if row.rejected is not None and row.rejected.learned and (other := self._logprobs(row.rejected)) is not None:
            difference = sum(values) / len(values) - sum(value for value, _ in other) / len(other)
            found["preference_accuracy"] = 1.0 if difference > 0 else 0.5 if difference == 0 else 0.0
        return found

    def _logprobs(self, text: Text) -> list[tuple[float, int]] | None:
        """Of each learned token its log-probability (nats) and its rank from 1 on; None where the server does not say. vLLM's prompt_logprobs."""
        if self.asked.length and len(text.ids) + 1 > self.asked.length:
            return None
        try:
            found = self.endpoint.complete(prompt=text.ids, max_tokens=1, temperature=0, prompt_logprobs=0)
        except Unanswered as error:
            if error.status not in DECLINED:
                raise
            return None
        places = found["choices"][0].get("prompt_logprobs")
        try:
            told = [places[place][str(text.ids[place])] for place in text.learned]
            return [(float(one["logprob"]), int(one["rank"])) for one in told]
        except (TypeError, KeyError, IndexError, ValueError):
            return None
