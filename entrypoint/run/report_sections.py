"""The lower sections of a report's page: parts of suites, speed, what it comes from, what was run, versions."""

from entrypoint.run import report_plots as plots
from entrypoint.run.markup import Markup, join, tag
from entrypoint.run.report_words import NOTHING, change, minute, number, seconds, settings
from schemas.evaluation import Load, Side
from schemas.report import Report, SuiteRun

SHORT = 12
"""Characters of a digest that tell artifacts apart."""

FEW = 12
"""Parts that are shown without being asked for."""

SIDES: tuple[Side, ...] = ("base", "tuned")


def groups(report: Report) -> Markup | None:
    """Means of the parts of each suite, what lost most first."""
    if not report.groups:
        return None
    ranked = sorted(report.groups, key=lambda one: ((one.tuned or 0.0) - (one.base or 0.0) if one.base is not None else 0.0, one.suite, one.group))
    rows = []
    for one in ranked:
        both = one.base is not None and one.tuned is not None
        apart = (one.tuned or 0.0) - (one.base or 0.0)
        kind = "same" if not both or not apart else "better" if apart > 0 else "worse"
        cells = [number(one.base, share=True), number(one.tuned, share=True), tag("span", change(apart, share=True) if both else NOTHING, class_=kind)]
        rows.append(
            join(
                (
                    "",
                    tag("td", f"{one.suite} · {one.group}"),
                    tag("td", f"{one.questions:,}", class_="number"),
                    *(tag("td", cell, class_="number") for cell in cells),
                )
            )
        )
    return _folded(f"{len(rows):,} parts, what lost most first", len(rows) <= FEW, _plain_table(("part", "questions", "base", "tuned", "points"), rows))


def speed(report: Report) -> Markup | None:
    """Tables and plots of the loads."""
    if not report.loads:
        return None
    rows = [join(tag("td", cell, class_="number") for cell in _load_cells(load)) for load in report.loads]
    headings = ("at once", "requests", "failed", "first token p50", "p95", "between tokens p50", "request p95", "tokens/s", "requests/s")
    found = [_figure("tokens a second, all requests together", plots.throughput(report.loads))]
    if (waits := plots.first_token(report.loads)) is not None:
        keys = join(("seconds to the first token", tag("span", class_="key one"), "half of the requests", tag("span", class_="key two"), "19 of 20"))
        found.append(_figure(keys, waits))
    mean = report.loads[0]
    note = f"{mean.prompt_tokens:,.0f} tokens of prompt and {mean.answer_tokens:,.0f} of answer a request{f', by {mean.tool}' if mean.tool else ''}."
    return join(
        (
            tag("p", note, class_="soft"),
            tag("div", join(found), class_="plots") if len(report.loads) > 1 else None,
            _plain_table(headings, rows, all_numbers=True),
        )
    )


def _load_cells(load: Load) -> tuple[str, ...]:
    first, apart, whole = load.first_token_seconds, load.token_seconds, load.request_seconds
    return (
        f"{load.concurrency:,}", f"{load.requests:,}", f"{load.failed:,}", seconds(first.get("p50")), seconds(first.get("p95")), seconds(apart.get("p50")),
        seconds(whole.get("p95")), f"{load.tokens_per_second:,.1f}", f"{load.requests_per_second:,.2f}",
    )  # fmt: skip


def chain(report: Report) -> Markup | None:
    """From the rows to this evaluation, by digests."""
    if not report.chain:
        return None
    roles = {link.content: link.role for link in report.chain}
    items = []
    for link in report.chain:
        made_of = ", ".join(dict.fromkeys(f"{roles.get(content, role)} {content[:SHORT]}" for role, content in link.inputs.items()))
        items.append(
            tag(
                "li",
                tag("b", link.role), f" {link.what}" if link.what else "", tag("div", tag("code", link.folder), class_="soft"),
                tag("div", tag("span", "content ", tag("code", link.content[:SHORT]), f", {minute(link.finished_at)}" if link.finished_at else ""), class_="soft"),
                tag("div", "made of ", tag("code", made_of), class_="soft") if made_of else None,
            )
        )  # fmt: skip
    items.append(tag("li", tag("b", "evaluation"), f" of {report.export}, {minute(report.made_at)}"))
    return tag("ol", join(items), class_="chain")


def suites(report: Report) -> Markup | None:
    """What was asked, of whom, and how."""
    if not report.suites:
        return None
    return join(tag("div", tag("h3", run.suite), tag("div", join(_facts(run)), class_="soft")) for run in report.suites)


def _facts(run: SuiteRun) -> list[Markup]:
    version = f" ({run.source_version[:SHORT]})" if run.source_version else ""
    lines = [f"{run.kind} from {run.source}{version}, {run.metric} by {run.tool}"]
    for side in SIDES:
        if side in run.questions:
            failed = run.failed.get(side, 0)
            trouble = f", {failed:,} without an answer" if failed else ""
            again = f", {run.retried[side]:,} requests sent again" if run.retried.get(side) else ""
            lines.append(f"{side}: {run.questions[side]:,} questions to {run.served.get(side, '')} in {seconds(run.seconds.get(side))}{trouble}{again}")
    lines += [f"settings: {told}"] if (told := settings(run)) else []
    return [tag("div", line) for line in lines]


def versions(report: Report) -> Markup | None:
    """Of every package that decides results."""
    if not report.versions:
        return None
    listed = tag("div", ", ".join(f"{name} {version}" for name, version in sorted(report.versions.items())), class_="mono")
    return join((listed, tag("p", f"Intervals are drawn with the seed {report.seed}.", class_="soft")))


def _figure(caption: object, plot: Markup) -> Markup:
    return tag("figure", tag("figcaption", caption), plot)


def _folded(title: str, shown: bool, body: Markup) -> Markup:
    return tag("details", tag("summary", title), tag("div", body, class_="case"), open=shown)


def _plain_table(headings: tuple[str, ...], rows: list[Markup], *, all_numbers: bool = False) -> Markup:
    """One that a narrow screen scrolls sideways."""
    head = tag("tr", join(tag("th", name, class_="number" if at or all_numbers else None) for at, name in enumerate(headings)))
    return tag("div", tag("table", tag("thead", head), tag("tbody", join(tag("tr", row) for row in rows))), class_="wide")
