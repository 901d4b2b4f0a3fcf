"""Conditions of a gate, such as `>= base - 1%`: read, checked against what a suite measures, and judged."""

import difflib
import re
from dataclasses import dataclass

from schemas.evaluation import Estimate, Score, Verdict

SIGNS = (">=", "<=", ">", "<")
EXAMPLE = '">= 0.9" or ">= base - 1%"'
PIECE = re.compile(r"\s*(?:(?P<sign>[<>=!≥≤]+)|(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?%?)|(?P<word>[^\W\d]\w*)|(?P<other>\S))")
OTHER_SIGNS = {"=>": ">=", "=<": "<=", "≥": ">=", "≤": "<=", ">>": ">", "<<": "<"}
MAX_CONDITION = 200


class ConditionError(ValueError):
    """What is wrong with a condition, and from which character on (from 0)."""

    def __init__(self, at: int, what: str, fix: str | None = None):
        self.at, self.what, self.fix = at, what, fix
        super().__init__(what)


@dataclass(frozen=True)
class Comparison:
    """The tuned model's value beside `factor` x the base's + `added`."""

    sign: str
    factor: float
    """0: the base is not looked at."""

    added: float
    percent_at: int | None = None
    """Where a percentage stands, which only means something for a share."""

    number_at: int | None = None
    """Where the last number stands."""

    @property
    def needs_base(self) -> bool:
        """Whether the base has to be evaluated too."""
        return self.factor != 0


def read_condition(text: str) -> tuple[Comparison, ...]:
    """The comparisons of a condition, all of which have to hold. Raises ConditionError.

    condition = comparison {"and" comparison}; comparison = sign bound; bound = number | "base" [("+" | "-") number | "*" number];
    number = digits ["%"].
    """
    if len(text) > MAX_CONDITION:
        raise ConditionError(0, f"has {len(text)} characters, a condition has at most {MAX_CONDITION}", f"write {EXAMPLE}")
    reader = _Reader(text)
    found = [_comparison(reader)]
    while not reader.ended:
        reader.expect_and()
        found.append(_comparison(reader))
    return tuple(found)


class _Reader:
    """The pieces of a condition, one after the other: kind, text and place."""

    def __init__(self, text: str):
        self.end = len(text.rstrip())
        self.pieces = [(m.lastgroup or "", m[m.lastgroup or 0], m.start(m.lastgroup or 0)) for m in PIECE.finditer(text)]
        self.position = 0

    @property
    def ended(self) -> bool:
        return self.position >= len(self.pieces)

    def look(self) -> tuple[str, str, int]:
        return ("end", "", self.end) if self.ended else self.pieces[self.position]

    def take(self) -> tuple[str, str, int]:
        found = self.look()
        self.position += 1
        return found

    def expect_and(self) -> None:
        kind, word, at = self.take()
        if kind == "sign":
            raise ConditionError(at, f"`{word}` comes without `and` before it", "join two comparisons with and: >= base and >= 0.5")
        if word != "and":
            raise ConditionError(at, f"`{word}` is too much", "a bound is a number, base, base + NUMBER, base - NUMBER or base * NUMBER")


def _comparison(reader: _Reader) -> Comparison:
    sign = _sign(reader)
    kind, word, at = reader.take()
    if kind == "number":
        value, percent = _number(word)
        return Comparison(sign, 0.0, value, at if percent else None, at)
    if kind == "end":
        raise ConditionError(at, "has nothing after its sign", f"write {EXAMPLE}")
    if word == "-":
        raise ConditionError(at, "no score is below 0", "write a number from 0, or base - NUMBER")
    if kind != "word":
        raise ConditionError(at, f"`{word}` where a number or base should be", f"write {EXAMPLE}")
    if word != "base":
        close = difflib.get_close_matches(word.lower(), ["base"], 1, 0.5)
        raise ConditionError(at, f"`{word}` is neither a number nor base", "did you mean `base`?" if close else "base is the model that was trained on")
    kind, operator, at = reader.look()
    if operator not in ("+", "-", "*"):
        return Comparison(sign, 1.0, 0.0)
    reader.take()
    kind, word, at = reader.take()
    if kind != "number":
        shown = f"`{word}` where a number should be" if word else f"has no number after `{operator}`"
        raise ConditionError(at, shown, f"write base {operator} NUMBER")
    value, percent = _number(word)
    if operator == "*":
        return Comparison(sign, value, 0.0, None, at)
    return Comparison(sign, 1.0, value if operator == "+" else -value, at if percent else None, at)


def _sign(reader: _Reader) -> str:
    kind, word, at = reader.take()
    if kind == "end":
        raise ConditionError(at, "is empty", f"write {EXAMPLE}")
    if kind != "sign":
        raise ConditionError(at, f"must begin with one of {', '.join(SIGNS)}", f"write {EXAMPLE}")
    if word in SIGNS:
        return word
    if word in OTHER_SIGNS:
        raise ConditionError(at, f"`{word}` is no sign", f"did you mean `{OTHER_SIGNS[word]}`?")
    raise ConditionError(
        at, f"`{word}` is no sign: a condition compares with {', '.join(SIGNS)}", "a measured score is hardly ever one number exactly: >= is meant"
    )


def _number(text: str) -> tuple[float, bool]:
    return (float(text[:-1]) / 100, True) if text.endswith("%") else (float(text), False)


def check_kind(comparisons: tuple[Comparison, ...], *, share: bool) -> None:
    """Raise ConditionError where a bound makes no sense for the metric: a percentage of what is no share, a share beyond 1."""
    for one in comparisons:
        if not share and one.percent_at is not None:
            fix = "write base * 1.05 for 5% more than the base" if one.needs_base else "write a plain number"
            raise ConditionError(one.percent_at, "a percentage of a metric that is no share of a whole", fix)
        if share and not one.needs_base and one.added > 1:
            raise ConditionError(one.number_at or 0, f"{one.added:g} where a score goes from 0 to 1", _as_share(one.added))


def _as_share(value: float) -> str:
    return f"write {value:g}% or {value / 100:g}" if value <= 100 else "write a share such as 0.9 or 90%"


def needs_base(gate: dict[str, str]) -> bool:
    """Whether a condition of a gate compares with the base."""
    return any(one.needs_base for condition in gate.values() for one in read_condition(condition))


def judge(gate: dict[str, str], scores: tuple[Score, ...]) -> tuple[Verdict, ...]:
    """What comes of each condition, in the spec's order. A number that is not there does not pass."""
    by_metric = {name: score for score in scores for name in (score.also, score.metric)}
    return tuple(_verdict(metric, condition, by_metric.get(metric)) for metric, condition in gate.items())


def _verdict(metric: str, condition: str, score: Score | None) -> Verdict:
    found = [_compare(one, score) for one in read_condition(condition)]
    decisive = next((one for one in found if not one.passed), found[0])
    certain = decisive.certain if not decisive.passed else all(one.certain for one in found)
    return decisive.model_copy(update={"metric": metric, "condition": condition, "certain": certain})


def _compare(one: Comparison, score: Score | None) -> Verdict:
    bare = Verdict(metric="", condition="", passed=False)
    tuned, base = (score.tuned, score.base) if score else (None, None)
    if tuned is None or (one.needs_base and base is None):
        missing = score.why if score and score.why else f"the {'tuned model' if tuned is None else 'base'} has no such number"
        return bare.model_copy(update={"value": tuned.value if tuned else None, "why": missing})
    bound = one.factor * (base.value if base else 0.0) + one.added
    return bare.model_copy(
        update={"passed": _holds(one.sign, tuned.value, bound), "value": tuned.value, "bound": bound, "certain": _is_certain(one, tuned, base, score)}
    )


def _is_certain(one: Comparison, tuned: Estimate, base: Estimate | None, score: Score | None) -> bool:
    """Whether both ends of the interval come out alike: of the paired difference beside base +/- a number, else of the tuned model's value."""
    difference = score.difference if score else None
    if one.factor == 1.0 and difference and base:
        ends, bound = (difference.low, difference.high), one.added
    else:
        ends, bound = (tuned.low, tuned.high), one.factor * (base.value if base else 0.0) + one.added
    outcomes = {_holds(one.sign, end, bound) for end in ends if end is not None}
    return len(outcomes) <= 1


def _holds(sign: str, value: float, bound: float) -> bool:
    """With room for the last bits: 0.91 - 0.01 is not 0.9 to a computer."""
    close = 1e-9 * max(1.0, abs(value), abs(bound))
    if sign == ">=":
        return value >= bound - close
    if sign == "<=":
        return value <= bound + close
    return value > bound + close if sign == ">" else value < bound - close
