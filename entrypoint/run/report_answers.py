"""Answers side by side, for the page of a report."""

from collections.abc import Sequence

from entrypoint.run.markup import Markup, join, tag
from entrypoint.run.report_words import NOTHING, number, seconds
from schemas.evaluation import Question
from schemas.report import Pair

OPEN = 3
"""Of a list, how many are shown open."""

FIRST = 110
"""Characters of the line that a closed one shows."""

ENDED = {"stop": "", "cut": "cut: no room left", "none": "no answer"}


def answers(pairs: Sequence[Pair]) -> Markup:
    """One box a question; the first ones are open."""
    return join(_case(pair, at < OPEN) for at, pair in enumerate(pairs))


def _case(pair: Pair, shown: bool) -> Markup:
    head = tag(
        "summary",
        tag("b", f"{pair.suite} · {pair.id}"), tag("span", _change(pair), class_="soft"), tag("span", _end(pair.prompt), class_="first"),
    )  # fmt: skip
    expected = join((_label("expected"), _text(pair.expected))) if pair.expected else None
    sides = [join((_label(side, found), _answer(found))) for side, found in (("base", pair.base), ("tuned", pair.tuned)) if found]
    body = tag("div", _label("asked"), _text(pair.prompt), expected, tag("div", join(tag("div", side) for side in sides), class_="sides"), class_="case")
    return tag("details", head, body, open=shown)


def _end(prompt: str) -> str:
    """Of one line: examples come before the question."""
    line = " ".join(prompt.split())
    return line if len(line) <= FIRST else f"... {line[-FIRST:]}"


def _change(pair: Pair) -> Markup:
    """The two scores; a change in the colour of its direction."""
    before, after = (found.score if found else None for found in (pair.base, pair.tuned))
    if before is None or after is None or before == after:
        return join((number(after if after is not None else before, share=True),))
    kind = "better" if after > before else "worse"
    return tag("span", f"{number(before, share=True)} → {number(after, share=True)} ({kind})", class_=kind)


def _label(name: str, found: Question | None = None) -> Markup:
    told = [] if found is None else [number(found.score, share=True), f"{found.tokens:,} tokens" if found.tokens is not None else "", ENDED[found.ended]]
    told += [seconds(found.seconds) if found and found.seconds is not None else ""]
    return tag("div", tag("b", name), join(tag("span", one) for one in told if one and one != NOTHING), class_="label")


def _answer(found: Question) -> Markup:
    note = tag("div", found.note, class_="under") if found.note else None
    return join((_text(found.answer, found.error), note))


def _text(said: str, error: str = "") -> Markup:
    if said.strip():
        return tag("div", said, class_="text", dir="auto")
    return tag("div", error or "(nothing)", class_="text none")
