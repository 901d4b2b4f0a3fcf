"""Numbers of a report as people read them, in the page and in the terminal."""

from schemas.evaluation import Estimate, Score, Verdict
from schemas.report import Report, SuiteRun

NOTHING = "-"


def number(value: float | None, *, share: bool) -> str:
    """A share in percent, anything else with four digits that count."""
    if value is None:
        return NOTHING
    return f"{value:.1%}" if share else f"{value:.4g}"


def estimate(found: Estimate | None, *, share: bool) -> str:
    """The number alone."""
    return number(found.value if found else None, share=share)


def interval(found: Estimate | None, *, share: bool, signed: bool = False) -> str:
    """Where it lies with 95% confidence; empty where nobody can say."""
    if found is None or found.low is None or found.high is None:
        return ""
    low, high = (change(end, share=share) if signed else number(end, share=share).rstrip("%") for end in (found.low, found.high))
    return f"{low} to {high}"


def change(value: float, *, share: bool) -> str:
    """With its sign; of shares in points of a hundred."""
    if value == 0:
        return "0.0" if share else "0"
    return f"{round(value * 100, 1) + 0:+.1f}" if share else f"{value:+.4g}"


def difference(score: Score) -> str:
    """Tuned less base."""
    return change(score.difference.value, share=score.share) + (" points" if score.share else "") if score.difference else NOTHING


def direction(score: Score) -> str:
    """better, worse, or same where the interval of the difference holds 0, or where nothing is better or worse."""
    found = score.difference
    if found is None or found.low is None or found.high is None or score.higher_is_better is None or found.low <= 0 <= found.high:
        return "same"
    return "better" if (found.low > 0) == score.higher_is_better else "worse"


def bound(verdict: Verdict, score: Score | None) -> str:
    """What a condition was compared with."""
    return number(verdict.bound, share=score.share if score else True)


def verdict(found: Verdict) -> str:
    """passed or refused, and how certain that is."""
    return ("passed" if found.passed else "refused") + ("" if found.certain else ", within chance")


def outcome(report: Report) -> str:
    """Of the whole gate."""
    if not report.gate:
        return "no gate"
    failed = sum(not one.passed for one in report.gate)
    return "gate passed" if not failed else f"gate refused: {failed} of {len(report.gate)} condition{'s' if len(report.gate) > 1 else ''}"


def score_of(report: Report, metric: str) -> Score | None:
    """The score that a gate calls so."""
    return next((score for score in report.scores if metric in (score.metric, score.also)), None)


def seconds(value: float | None) -> str:
    """Of a request."""
    if value is None:
        return NOTHING
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s" if value < 100 else f"{value:,.0f} s"


def settings(run: SuiteRun) -> str:
    """As they were given: one line."""
    return ", ".join(f"{key} {_plain(value)}" for key, value in run.settings.items() if value not in (None, "", [], {}))


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_plain(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_plain, value)) + "]"
    return str(value)


def minute(at: str) -> str:
    """ISO 8601 in UTC, to the minute."""
    return f"{at[:16].replace('T', ' ')} UTC" if at else ""
