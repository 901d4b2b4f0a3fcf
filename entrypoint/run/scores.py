"""Answers of base and tuned model -> scores with intervals, what got worse, and the answers to look at."""

import difflib
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest

from entrypoint.run.resampling import mean, paired, paired_ratio, ratio
from schemas.errors import StepFailed
from schemas.evaluation import OWN, Question, Score, Side, SuiteResult
from schemas.metrics import metric_called
from schemas.report import GroupScore, Pair, SuiteRun

SHOWN = 20
"""Answers of each list."""

RATIOS: dict[str, Callable[[float], float]] = {"loss": float, "perplexity": math.exp}
"""Numbers of a sum over a count, which are nats over learned tokens."""

PARTS = ("nats", "learned")
"""What those are made of: no metrics by themselves."""

COMPARED = 1_000
"""Characters of two answers that are compared letter by letter."""


class Suite:
    """One suite of both sides, or of one."""

    def __init__(self, results: Iterable[SuiteResult]):
        by_side = {result.side: result for result in results}
        self.base, self.tuned = by_side.get("base"), by_side.get("tuned")
        self.any = next(iter(by_side.values()))
        if self.base and self.tuned and (self.base.settings, self.base.metric) != (self.tuned.settings, self.tuned.metric):
            changed = sorted(k for k in {**self.base.settings, **self.tuned.settings} if self.base.settings.get(k) != self.tuned.settings.get(k))
            raise StepFailed(f"{self.any.suite}: base and tuned model were asked with other settings: {', '.join(changed)}", "ask both again")
        self.asked: dict[Side, dict[str, Question]] = {side: {q.id: q for q in result.questions} for side, result in by_side.items()}

    @property
    def sides(self) -> tuple[Side, ...]:
        return tuple(self.asked)

    def scores(self, seed: int) -> list[Score]:
        """The suite's own metric first, then what else its answers were measured by, then what is missing."""
        names = [self.any.metric, *self._further()]
        found = [self._score(name, seed) for name in names]
        missing = {name: why for result in (self.base, self.tuned) if result for name, why in result.missing.items()}
        return [*found, *(self._bare(name).model_copy(update={"why": why}) for name, why in missing.items() if name not in names)]

    def _further(self) -> list[str]:
        keys = dict.fromkeys(key for asked in self.asked.values() for question in asked.values() for key in question.scores)
        return [*(key for key in keys if key not in PARTS), *(RATIOS if "nats" in keys else ())]

    def _bare(self, name: str) -> Score:
        metric, own = metric_called(name), name == self.any.metric
        whole, dotted = self.any.suite, f"{self.any.suite}.{name}"
        if own and self.any.suite != OWN:
            return Score(metric=whole, also=dotted, called=metric.called, share=metric.share, higher_is_better=self.any.higher_is_better)
        return Score(metric=dotted, also=whole if own else "", called=metric.called, share=metric.share, higher_is_better=metric.higher_is_better)

    def _score(self, name: str, seed: int) -> Score:
        bare, of = self._bare(name), RATIOS.get(name)
        values = {side: {id: found for id, q in asked.items() if (found := _value(q, name, self.any.metric)) is not None} for side, asked in self.asked.items()}
        both = [id for id in next(iter(values.values())) if all(id in found for found in values.values())]
        if not both:
            return bare.model_copy(update={"why": f"no question has an answer of {' and '.join(f'the {side} model' for side in self.sides)}"})
        drawn = {side: [found[id] for id in both] for side, found in values.items()}
        told: dict[str, object] = {"questions": len(both)}
        for side, rows in drawn.items():
            key = f"{bare.metric} {side}"
            told[side] = ratio(rows, seed=seed, name=key, of=of) if of else mean(_firsts(rows), seed=seed, name=key, share=bare.share)
        if len(drawn) == 2:
            base, tuned = drawn["base"], drawn["tuned"]
            key = f"{bare.metric} difference"
            told["difference"] = (
                paired_ratio(base, tuned, seed=seed, name=key, of=of) if of else paired(_firsts(base), _firsts(tuned), seed=seed, name=key, share=bare.share)
            )
            gains = [_gain(before, after, bare.higher_is_better) for before, after in zip(base, tuned, strict=True)]
            told |= {"better": sum(gain > 0 for gain in gains), "worse": sum(gain < 0 for gain in gains)}
        return bare.model_copy(update=told)

    def groups(self) -> list[GroupScore]:
        """The mean of each part, over the questions that every side has a score of."""
        found: dict[str, list[str]] = {}
        for id, question in self.asked[self.sides[0]].items():
            if question.group and all(id in asked and asked[id].score is not None for asked in self.asked.values()):
                found.setdefault(question.group, []).append(id)
        return [
            GroupScore(
                suite=self.any.suite, group=group, questions=len(ids), **{side: sum(asked[id].score or 0.0 for id in ids) / len(ids) for side, asked in self.asked.items()}
            )
            for group, ids in sorted(found.items())
        ]  # fmt: skip

    def pairs(self) -> list[Pair]:
        """Every question that the tuned model has a score of, side by side."""
        tuned, base = self.asked.get("tuned", {}), self.asked.get("base", {})
        return [
            Pair(suite=self.any.suite, id=id, prompt=q.prompt, expected=q.expected, base=_bare(base[id]) if id in base else None, tuned=_bare(q))
            for id, q in tuned.items()
            if q.score is not None
        ]

    def run(self) -> SuiteRun:
        """What was asked, and what went wrong."""
        one, results = self.any, [result for result in (self.base, self.tuned) if result]
        return SuiteRun(
            suite=one.suite, kind=one.kind, source=one.source, source_version=one.source_version, metric=one.metric, tool=one.tool, settings=one.settings,
            served={r.side: r.served_name for r in results}, questions={r.side: len(r.questions) for r in results},
            failed={r.side: sum(q.score is None for q in r.questions) for r in results}, retried={r.side: r.retried for r in results},
            seconds={r.side: r.seconds for r in results},
        )  # fmt: skip


def suites_of(results: Sequence[SuiteResult]) -> list[Suite]:
    """Results by their suite, in the order in which the suites first come."""
    names = dict.fromkeys(result.suite for result in results)
    return [Suite(result for result in results if result.suite == name) for name in names]


def worst(suites: Sequence[Suite]) -> tuple[Pair, ...]:
    """The tuned model's lowest scores; of equal ones first what the base did better. Suites take turns, so that a large one does not crowd the others out."""
    return _in_turns([sorted((p for p in suite.pairs() if _tuned(p) < 1), key=lambda p: (_tuned(p), -_loss(p))) for suite in suites])


def changed(suites: Sequence[Suite]) -> tuple[Pair, ...]:
    """Where base and tuned model differ most: what got worse first, then what got better, then other words for the same score."""
    return _in_turns([_changed(suite.pairs()) for suite in suites])


def _changed(pairs: Sequence[Pair]) -> list[Pair]:
    scored = sorted((pair for pair in pairs if _loss(pair)), key=lambda pair: (-abs(_loss(pair)), -_loss(pair)))
    if len(scored) >= SHOWN:  # comparing texts takes long
        return scored
    return scored + sorted((pair for pair in pairs if not _loss(pair) and _differs(pair)), key=_likeness)


def _in_turns(ranked: Sequence[Sequence[Pair]]) -> tuple[Pair, ...]:
    found = [pair for row in zip_longest(*(pairs[:SHOWN] for pairs in ranked)) for pair in row if pair is not None]
    return tuple(found[:SHOWN])


def _bare(question: Question) -> Question:
    """Without what its pair says already."""
    return question.model_copy(update={"prompt": "", "expected": ""})


def _tuned(pair: Pair) -> float:
    return pair.tuned.score if pair.tuned and pair.tuned.score is not None else 0.0


def _loss(pair: Pair) -> float:
    """How much lower the tuned model's score is; 0 where the base has none."""
    return pair.base.score - _tuned(pair) if pair.base and pair.base.score is not None else 0.0


def _differs(pair: Pair) -> bool:
    """Whether the words do."""
    return bool(pair.base and pair.tuned and pair.base.score is not None and pair.base.answer != pair.tuned.answer)


def _likeness(pair: Pair) -> float:
    """0: the answers share no letter, 1: they are the same."""
    one, other = (question.answer[:COMPARED] if question else "" for question in (pair.base, pair.tuned))
    return difflib.SequenceMatcher(None, one, other, autojunk=False).quick_ratio()


def _value(question: Question, name: str, own: str) -> tuple[float, float] | None:
    """Sum and count of a metric: of most a number and 1."""
    if name in RATIOS:
        return (question.scores["nats"], question.scores["learned"]) if set(PARTS) <= set(question.scores) else None
    found = question.score if name == own else question.scores.get(name)
    return None if found is None else (found, 1.0)


def _firsts(rows: Sequence[tuple[float, float]]) -> list[float]:
    return [value for value, _ in rows]


def _gain(before: tuple[float, float], after: tuple[float, float], higher_is_better: bool | None) -> float:
    difference = after[0] / after[1] - before[0] / before[1]
    return difference if higher_is_better is not False else -difference
