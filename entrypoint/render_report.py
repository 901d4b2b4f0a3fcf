"""A report, and several runs beside each other, as text for a terminal; no decisions."""

from collections.abc import Sequence

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from entrypoint.compared import Run, differences, metrics
from entrypoint.render import console
from entrypoint.run import report_words as words
from schemas.evaluation import Score, Verdict
from schemas.report import Report

COLOURS = {"better": "green", "worse": "red", "same": ""}
BARS = "▁▂▃▄▅▆▇█"
SPARKS = 40
"""Columns of a curve."""


def show_report(report: Report, verdicts: Sequence[Verdict], evaluation: str) -> None:
    """The summary: gate, scores, speed, what to know before believing it."""
    out = console()
    out.print(Text(f"{report.name}: evaluation {evaluation}", style="bold"))
    facts = (f"export {report.export}", report.kind, report.engine, words.minute(report.made_at))
    out.print(Text(", ".join(filter(None, facts)), style="dim"))
    for warning in report.warnings:
        out.print(Text(f"! {warning}", style="yellow"))
    if verdicts:
        out.print()
        judged = report.model_copy(update={"gate": tuple(verdicts)})
        out.print(Text(words.outcome(judged), style="bold green" if judged.passed else "bold red"))
        for one in verdicts:
            out.print(_gate_line(one, report))
    out.print()
    out.print(scores_table(report.scores))
    if any(score.difference for score in report.scores):
        out.print(Text("[..] holds the true number in 95 of 100 such evaluations; a grey difference may be chance", style="dim"))
    if report.loads:
        out.print()
        out.print(_loads(report))


def _gate_line(one: Verdict, report: Report) -> Padding:
    score = words.score_of(report, one.metric)
    share = score.share if score else True
    line = Text.assemble((f"{one.metric} {one.condition}", "cyan"), f"  {words.number(one.value, share=share)}")
    if one.bound is not None and "base" in one.condition:
        line.append(f" beside {words.bound(one, score)}")
    line.append(f"  {words.verdict(one)}", style="green" if one.passed else "red")
    return Padding(line.append(f"  {one.why}" if one.why else ""), (0, 0, 0, 2))


def scores_table(scores: Sequence[Score]) -> Table:
    """One line a metric."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("metric", "base", "tuned", "difference", ""):
        table.add_column(name, justify="left" if name in ("metric", "") else "right", no_wrap=name != "metric", overflow="fold")
    for score in scores:
        apart = Text(words.difference(score).removesuffix(" points"), style=COLOURS[words.direction(score)] or "dim")
        reach = words.interval(score.difference or score.tuned, share=score.share, signed=score.difference is not None)
        said = f"[{reach}]" if reach else ""
        sides = (words.estimate(score.base, share=score.share), words.estimate(score.tuned, share=score.share))
        table.add_row(score.metric, *sides, apart, Text(said or score.why, style="dim"))
    return table


def _loads(report: Report) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("at once", "first token p50", "p95", "between p50", "tokens/s", "failed"):
        table.add_column(name, justify="right")
    for load in report.loads:
        first = load.first_token_seconds
        cells = (words.seconds(first.get("p50")), words.seconds(first.get("p95")), words.seconds(load.token_seconds.get("p50")))
        table.add_row(f"{load.concurrency:,}", *cells, f"{load.tokens_per_second:,.1f}", f"{load.failed:,}")
    return table


def spark(values: Sequence[float], low: float, high: float) -> str:
    """A curve in one line of at most SPARKS signs, from `low` to `high`."""
    if not values:
        return ""
    count = min(SPARKS, len(values))
    parts = [values[len(values) * at // count : len(values) * (at + 1) // count] for at in range(count)]
    means = [sum(part) / len(part) for part in parts]
    top = len(BARS) - 1
    return "".join(BARS[max(0, min(top, round((mean - low) / (high - low) * top)))] if high > low else BARS[0] for mean in means)


def show_compared(runs: Sequence[Run]) -> None:
    """A line and a curve for each run, then what was decided otherwise, then what was measured; runs are columns A, B, C and so on."""
    out, names = console(), [_letter(at) for at in range(len(runs))]
    every = [value for run in runs for _, value in run.losses]
    low, high = (min(every), max(every)) if every else (0.0, 0.0)
    for name, run in zip(names, runs, strict=True):
        summary = run.made.summary
        facts = [words.minute(run.made.finished_at), f"{summary['steps']:,} steps" if isinstance(summary.get("steps"), int) else ""]
        out.print(Text.assemble((name, "bold"), f"  {run.id}  ", (", ".join(filter(None, facts)), "dim")))
        if run.losses:
            first, last = run.losses[0][1], run.losses[-1][1]
            out.print(Text.assemble("   ", (spark([value for _, value in run.losses], low, high), "cyan"), f"  loss {first:.3f} to {last:.3f}"))
        if run.validation_losses:
            out.print(Text(f"   validation loss {', '.join(f'{value:.3f}' for _, value in run.validation_losses[-6:])}", style="dim"))
        out.print(Text(f"   evaluation {run.evaluation.id}" if run.evaluation else "   not evaluated", style="dim"))
    if len(runs) > 1:
        out.print()
        found = differences(list(runs))
        out.print(_columns("setting", names, list(found.items())) if found else Text("nothing was decided otherwise"))
    if measured := metrics(list(runs)):
        out.print()
        out.print(_columns("metric (tuned)", names, [(metric, tuple(_tuned(run.scores.get(metric)) for run in runs)) for metric in measured]))


def _columns(heading: str, names: Sequence[str], rows: Sequence[tuple[str, tuple[str, ...]]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(heading, style="cyan", overflow="fold")
    for name in names:
        table.add_column(name, overflow="fold")
    for title, values in rows:
        table.add_row(title, *values)
    return table


def _tuned(score: Score | None) -> str:
    return words.estimate(score.tuned, share=score.share) if score else words.NOTHING


def _letter(at: int) -> str:
    """A to Z, then AA."""
    return _letter(at // 26 - 1) + chr(65 + at % 26) if at >= 26 else chr(65 + at)
