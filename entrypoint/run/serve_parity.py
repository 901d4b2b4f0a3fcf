"""The parity gate: what is served must read prompts and answer them as the tuned model did when it was exported."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from entrypoint.run.engine_client import Ending
from entrypoint.run.greedy import Answer
from entrypoint.run.tolerance import Tolerance
from schemas.errors import GateRefused

ANSWERS = ("golden_answers.json", "parity.json")
"""Files of an export that hold what the tuned model said, the first that is there."""

ROOM = 16
"""Tokens that an answer may have beyond the golden one before its end: an engine that ends late is seen to."""


@dataclass(frozen=True)
class Golden:
    """One prompt and what the tuned model answered."""

    kind: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    prompt_ids: list[int]
    answer: Answer
    """Its margins are empty where the export did not record them."""

    ended: bool
    """Its answer ends with an end token."""


@dataclass(frozen=True)
class Difference:
    """The first place where served and tuned model part."""

    number: int
    """Of the prompt, from 1."""

    golden: Golden
    part: str
    """prompt, answer or end."""

    at: int
    """Index of the token."""

    what: str
    trained: list[int] = field(default_factory=list)
    served: list[int] = field(default_factory=list)


@dataclass
class Outcome:
    """Of a gate."""

    of: int = 0
    equal: int = 0
    ties: int = 0
    ends: int = 0
    """Answers whose end token was seen to be honoured."""

    too_long: int = 0
    """Prompts that are longer, with their answers, than what is served: they are read, and not answered."""

    worst: float = 0.0
    mean: float = 0.0
    """Of the differences of log-probabilities, nats."""

    difference: Difference | None = None


class Engine(Protocol):
    """What the gate asks an engine."""

    def chat_ids(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> list[int]:
        """Token ids of a conversation, by the engine's own template."""

    def text_ids(self, text: str) -> list[int]:
        """Token ids of plain text."""

    def answer(self, prompt_ids: list[int], tokens: int) -> Answer:
        """The greedy continuation."""

    def ending(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]], room: int) -> Ending:
        """How a chat answer ends."""


def read_golden(folder: Path) -> list[Golden]:
    """What an export holds. Raises GateRefused where it holds nothing to compare with."""
    file = next((folder / name for name in ANSWERS if (folder / name).is_file()), None)
    try:
        if file is None:
            raise ValueError(f"neither {' nor '.join(ANSWERS)} is there")
        said = json.loads(file.read_text(encoding="utf-8"))
        rows = said["prompts"] if isinstance(said, dict) else said
        longest = max((len(row["answer_ids"]) for row in rows), default=0)
        ends = _end_tokens(folder)
        found = [_golden(row, longest, ends) for row in rows]
        if not found:
            raise ValueError(f"{file.name} holds no prompt")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GateRefused(f"serve: parity: no golden answers in {folder}: {error}", "export again: `docker compose run --rm export`") from None
    return found


def _golden(row: dict[str, Any], longest: int, ends: set[int]) -> Golden:
    ids = list(row["answer_ids"])
    answer = Answer(ids, list(row["logprobs"]), list(row.get("margins", [])))
    if len(answer.logprobs) != len(ids) or not ids or not row["prompt_ids"]:
        raise ValueError("a prompt without ids, or an answer whose log-probabilities are not those of its tokens")
    ended = row["ended"] if "ended" in row else (len(ids) < longest or ids[-1] in ends)
    return Golden(row["kind"], row["messages"], row.get("tools", []), list(row["prompt_ids"]), answer, bool(ended))


def _end_tokens(folder: Path) -> set[int]:
    """Ids of the export's end tokens, as generation reads them."""
    for name in ("generation_config.json", "config.json"):
        if (folder / name).is_file() and (found := json.loads((folder / name).read_text(encoding="utf-8")).get("eos_token_id")) is not None:
            return set(found if isinstance(found, list) else [found])
    return set()


def has_template(folder: Path) -> bool:
    """Whether the folder's tokenizer brings a chat template."""
    config = folder / "tokenizer_config.json"
    return (folder / "chat_template.jinja").is_file() or (config.is_file() and "chat_template" in json.loads(config.read_text(encoding="utf-8")))


def judge(engine: Engine, golden: list[Golden], allowed: Tolerance, *, chat: bool, limit: int = 0) -> Outcome:
    """Ask every golden prompt: first how all are read, then what is answered, then where answers end. Stops at the first difference.

    `chat`: the model has a template. `limit`: tokens that prompt and answer may have together; 0 is no limit.
    """
    outcome = Outcome(of=len(golden))
    for number, one in enumerate(golden, 1):
        read = engine.chat_ids(one.messages, one.tools) if chat else engine.text_ids(one.messages[-1]["content"])
        if read != one.prompt_ids:
            outcome.difference = Difference(number, one, "prompt", parting(one.prompt_ids, read), "the prompt is read otherwise", one.prompt_ids, read)
            return outcome
    distances: list[float] = []
    for number, one in enumerate(golden, 1):
        if limit and len(one.prompt_ids) + len(one.answer.ids) > limit:
            outcome.too_long += 1
            continue
        served = engine.answer(one.prompt_ids, len(one.answer.ids))
        outcome.difference = _compare(number, one, served, allowed, outcome, distances)
        if outcome.difference is None and one.ended and chat and served.ids == one.answer.ids:
            room = min(len(one.answer.ids) + ROOM, limit - len(one.prompt_ids)) if limit else len(one.answer.ids) + ROOM
            outcome.difference = _ending(number, one, engine, room, outcome)
        if outcome.difference:
            return outcome
    if outcome.mean > allowed.mean:
        what = f"log-probabilities differ by {outcome.mean:.3f} on average, {allowed.mean} are allowed"
        outcome.difference = Difference(1, golden[0], "answer", 0, what, golden[0].answer.ids, golden[0].answer.ids)
    return outcome


def _compare(number: int, one: Golden, served: Answer, allowed: Tolerance, outcome: Outcome, distances: list[float]) -> Difference | None:
    """Token by token up to the first difference; counts into the outcome."""
    at = parting(one.answer.ids, served.ids)

    def differ(at: int, what: str) -> Difference:
        return Difference(number, one, "answer", at, what, one.answer.ids, served.ids)

    for place, (a, b) in enumerate(zip(one.answer.logprobs[:at], served.logprobs[:at], strict=True)):
        if not (math.isfinite(a) and math.isfinite(b)) or abs(a - b) > allowed.worst:
            return differ(place, f"log-probability {a:.3f} when trained, {b:.3f} served; {allowed.worst} apart are allowed")
        distances.append(abs(a - b))
    outcome.worst, outcome.mean = max(distances, default=0.0), sum(distances) / len(distances) if distances else 0.0
    if served.ids == one.answer.ids:
        outcome.equal += 1
        return None
    # Where one stopped and the other went on, the end token is the choice that differs.
    margins = one.answer.margins or served.margins
    lead = margins[at] if at < len(margins) else math.inf
    if lead >= allowed.tie:
        return differ(at, f"another answer; the first choice led by {lead:.2f}, below {allowed.tie} two may swap")
    outcome.ties += 1
    return None


def _ending(number: int, one: Golden, engine: Engine, room: int, outcome: Outcome) -> Difference | None:
    """An end token that is not honoured lets an answer run on: asked as a user asks, with room."""
    ending = engine.ending(one.messages, one.tools, room)
    if ending.reason in ("stop", "tool_calls") and ending.tokens == len(one.answer.ids):
        outcome.ends += 1
        return None
    what = f"the answer ended after {len(one.answer.ids)} tokens when trained; served, {ending.tokens} tokens came, finish_reason {ending.reason}"
    return Difference(number, one, "end", len(one.answer.ids) - 1, what, one.answer.ids, one.answer.ids)


def parting(first: list[int], second: list[int]) -> int:
    """Index of the first token that is not in both; the shorter one's length where it is the start of the other."""
    return next((at for at, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second)))
