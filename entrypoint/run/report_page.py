"""A report as one HTML page: no script, nothing from elsewhere, every text escaped, light and dark, readable on a phone."""

from importlib import resources

from entrypoint.run import report_plots as plots
from entrypoint.run.markup import Markup, join, tag
from entrypoint.run.report_answers import answers
from entrypoint.run.report_sections import chain, groups, speed, suites, versions
from entrypoint.run.report_words import (
    NOTHING,
    bound,
    difference,
    direction,
    estimate,
    interval,
    minute,
    number,
    outcome,
    score_of,
    verdict,
)
from schemas.evaluation import Score
from schemas.report import Pair, Report

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""A second lock beside the escaping: a browser runs and loads nothing of this page."""

HOW = (
    "An interval holds the true number in 95 of 100 such evaluations (bootstrap over questions). A difference is over the same questions for both models, "
    "question by question; where its interval holds 0, these questions show no difference."
)


def page(report: Report) -> str:
    """The whole document."""
    title = f"{report.name}: evaluation of {report.export}"
    style = Markup((resources.files("entrypoint.run") / "page" / "report.css").read_text(encoding="utf-8"))
    head = tag(
        "head",
        tag("meta", charset="utf-8"), tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"), tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"), tag("title", title), tag("style", style),
    )  # fmt: skip
    parts = [(name, name.lower().replace(" ", "-"), body) for name, body in _sections(report) if body]
    links = tag("nav", join(tag("a", name, href=f"#{anchor}") for name, anchor, _ in parts))
    body = join(tag("section", tag("h2", name, id=anchor), body) for name, anchor, body in parts)
    return f"<!doctype html>\n{tag('html', head, tag('body', tag('main', _head(report), links, body)), lang='en')}\n"


def _sections(report: Report) -> list[tuple[str, Markup | None]]:
    return [
        ("Gate", _gate(report)),
        ("Scores", _scores(report)),
        ("What got worse", _worse(report)),
        ("Parts of suites", groups(report)),
        ("Speed", speed(report)),
        ("Training", _training(report)),
        ("Worst answers", _listed(report.worst, "The tuned model's lowest scores; of equal ones first those that the base answered better.")),
        ("Most changed answers", _listed(report.changed, "What got worse first, then what got better, then other words for the same score.")),
        ("Where it comes from", chain(report)),
        ("What was run", suites(report)),
        ("Versions", versions(report)),
    ]  # fmt: skip


def _head(report: Report) -> Markup:
    kind = "" if not report.gate else "passed" if report.passed else "refused"
    facts = [("export", report.export), ("form", report.kind), ("engine", report.engine), ("made", minute(report.made_at))]
    return join(
        (
            tag("h1", report.name), tag("div", outcome(report).capitalize(), class_=f"badge {kind}".strip()),
            tag("div", join(tag("span", name, " ", tag("b", value)) for name, value in facts if value), class_="facts"),
            join(tag("p", warning, class_="warn") for warning in report.warnings),
        )
    )  # fmt: skip


def _gate(report: Report) -> Markup | None:
    if not report.gate:
        return None
    rows = []
    for found in report.gate:
        score = score_of(report, found.metric)
        value = number(found.value, share=score.share if score else True)
        outcome = tag("span", verdict(found), class_="better" if found.passed else "worse")
        rows.append(
            tag(
                "tr",
                _cell("metric", tag("code", found.metric)), _cell("condition", tag("code", found.condition)), _cell("tuned", value, number=True),
                _cell("compared with", bound(found, score), number=True), _cell("outcome", tag("b", outcome), tag("small", found.why) if found.why else None),
            )
        )  # fmt: skip
    note = "Within chance: with other questions of the kind it could have come out otherwise." if any(not one.certain for one in report.gate) else ""
    return join((_table(("metric", "condition", "tuned", "compared with", "outcome"), rows, numbers=(2, 3)), tag("p", note, class_="soft") if note else None))


def _scores(report: Report) -> Markup:
    if not report.scores:
        return tag("p", "Nothing was asked.", class_="soft")
    reach = plots.reach_of(report.scores)
    rows = [_score_row(score, reach) for score in report.scores]
    return join((_table(("metric", "base", "tuned", "difference", "", "better / worse"), rows, numbers=(1, 2, 3, 5)), tag("p", HOW, class_="soft")))


def _score_row(score: Score, reach: float) -> Markup:
    own = max((abs(end) for end in (score.difference.low, score.difference.high) if end is not None), default=0.0) if score.difference else 0.0
    plot = plots.span(score, reach if score.share else own)
    kind = direction(score)
    called = f"{score.called}{f', {score.questions:,} questions' if score.questions else ''}"
    sides = [
        _cell(name, estimate(found, share=score.share), tag("small", interval(found, share=score.share)), number=True)
        for name, found in (("base", score.base), ("tuned", score.tuned))
    ]
    counts = f"{score.better:,} / {score.worse:,}" if score.difference else NOTHING
    apart = tag("small", interval(score.difference, share=score.share, signed=True))
    return tag(
        "tr",
        _cell("metric", tag("code", score.metric), tag("small", called), tag("small", score.why, class_="worse") if score.why else None),
        *sides, _cell("difference", tag("b", difference(score), class_=kind), apart, number=True),
        tag("td", plot, class_="plot"), _cell("better / worse", counts, number=True),
    )  # fmt: skip


def _worse(report: Report) -> Markup | None:
    """Forgetting: what the base did better."""
    if not any(score.difference for score in report.scores):
        return None
    sure = [score for score in report.scores if direction(score) == "worse"]
    lost = [score for score in report.scores if score.worse and score.also]
    items = [
        tag(
            "li",
            tag("code", score.metric),
            " ",
            tag("b", difference(score), class_="worse"),
            f" ({interval(score.difference, share=score.share, signed=True)})",
        )
        for score in sure
    ]
    said = tag("ul", join(items)) if items else tag("p", "No metric is worse beyond chance.")
    counts = [
        f"{score.metric}: {score.worse:,} of {score.questions:,} questions are answered worse than by the base, {score.better:,} better." for score in lost
    ]
    return join((said, join(tag("p", count, class_="soft") for count in counts)))


def _training(report: Report) -> Markup | None:
    plot = plots.losses(report.losses, report.validation_losses)
    if plot is None:
        return None
    keys = join(
        (tag("span", class_="key one"), "training loss", tag("span", class_="key two"), "validation loss" if report.validation_losses else "no validation")
    )
    told = ", ".join(f"{name} {value:.4g}" for name, value in report.training_metrics.items())
    return join((tag("figure", tag("figcaption", keys), plot), tag("p", f"At its last validation training recorded: {told}.", class_="soft") if told else None))


def _listed(pairs: tuple[Pair, ...], note: str) -> Markup | None:
    return join((tag("p", note, class_="soft"), answers(pairs))) if pairs else None


def _cell(label: str, *content: object, number: bool = False) -> Markup:
    return tag("td", tag("span", *content), data_label=label, class_="number" if number else None)


def _table(headings: tuple[str, ...], rows: list[Markup], numbers: tuple[int, ...]) -> Markup:
    head = tag("thead", tag("tr", join(tag("th", name, class_="number" if at in numbers else None) for at, name in enumerate(headings))))
    return tag("table", head, tag("tbody", join(rows)), class_="cards")
