"""The report of the data gate as lines for a terminal of 80 columns."""

from collections.abc import Iterator
from typing import Any

from entrypoint.run.tally import HISTOGRAM

WIDTH = 80
BAR = 36
"""Columns of the longest bar."""


def lines_of(report: dict[str, Any]) -> Iterator[str]:
    """The report, line by line; what is zero and of no news is left out."""
    yield from _sources(report["sources"])
    yield f"  {'split':<12}{'rows':>11}{'tokens':>15}{'learned':>15}{'mean':>9}{'longest':>10}"
    for split in ("train", "validation"):
        counted = report[split]
        yield f"  {split:<12}{counted['rows']:>11,}{counted['tokens']:>15,}{counted['supervised']:>15,}{counted['mean']:>9,.0f}{counted['longest']:>10,}"
    yield from _histogram(report)
    yield from _findings(report)


def _sources(sources: list[dict[str, Any]]) -> Iterator[str]:
    for s in sources:
        yield from _folded(f"  {s['source']} ({s['split']}): {s['format']}", f"{s['why']}" if s["why"] else "")
        told = [f"{s['read']:,} rows", f"{s['rejected']:,} rejected"]
        if s["weight"] != 1 or s["max_rows"] is not None:
            asked = [f"weight {s['weight']:g}"] if s["weight"] != 1 else []
            asked += [f"max_rows {s['max_rows']:,}"] if s["max_rows"] is not None else []
            told += [f"{s['taken']:,} taken", f"{s['repeated']:,} repeated", f"{s['left_out']:,} left out ({', '.join(asked)})"]
        yield from _folded("      " + ", ".join(told), "")


def _folded(line: str, rest: str) -> Iterator[str]:
    """A line with its reason behind it, or below where both are too long."""
    if rest and len(line) + len(rest) + 2 <= WIDTH:
        yield f"{line}, {rest}"
        return
    yield from _wrapped(line, "      ")
    if rest:
        yield from _wrapped(f"      {rest}", "      ")


def _wrapped(line: str, indent: str) -> Iterator[str]:
    while len(line) > WIDTH:
        at = line.rfind(" ", len(indent) + 1, WIDTH + 1)
        at = at if at > len(indent) else WIDTH
        yield line[:at].rstrip()
        line = indent + line[at:].strip()
    yield line


def _histogram(report: dict[str, Any]) -> Iterator[str]:
    """Lengths of the training rows; a class without rows is shown where longer ones have some."""
    counts = report["train"]["lengths"]
    names = [*(f"<= {bound}" for bound in HISTOGRAM), f"> {HISTOGRAM[-1]}"]
    filled = [at for at, name in enumerate(names) if name in counts]
    if not filled:
        return
    most = max(counts.values())
    yield "  tokens in a training row"
    for name in names[filled[0] : filled[-1] + 1]:
        count = counts.get(name, 0)
        yield f"    {name:<10}{count:>11,}  {'█' * -(-BAR * count // most)}".rstrip()


def _findings(report: dict[str, Any]) -> Iterator[str]:
    limit = report["max_length"]
    yield f"  {report['rejected']:,} of {report['read']:,} rows are rejected"
    for reason, kept in report["rejected_first"].items():
        yield from _wrapped(f"    {report['rejected_by_reason'][reason]:,} x {reason}", "      ")
        yield from _wrapped(f"      first: {': '.join(filter(None, (kept['where'], kept['detail'])))}", "        ")
        if kept["words"]:
            yield f"        {kept['words']}"[:WIDTH]
    long = report["too_long_rows"][0] if report["too_long_rows"] else None
    told = (
        (report["too_long"], f"are left out as longer than {limit:,} tokens" + (f", the first {long['where']} with {long['tokens']:,}" if long else "")),
        (report["cut"], f"are cut to {limit:,} tokens, {report['cut_tokens']:,} tokens are lost; end tokens are kept"),
        (report["split_rows"], f"are split into {report['split_pieces']:,} pieces"),
        (report["unrolled_rows"], f"are written as {report['unrolled_pieces']:,} rows, one a learned turn: the template rewrites earlier turns"),
        (report["thinking_left_out_by_the_template"], "have thinking that the chat template does not show: it is not trained on"),
        (report["no_end_token_supervised"], "are written without a learned end token"),
    )
    for count, what in told:
        if count:
            yield from _wrapped(f"  {count:,} rows {what}", "    ")
    left = " and left out" if report["deduplicate"] else ", and kept: data.deduplicate leaves them out"
    for count, what, places in (
        (report["repeated_rows"], f"repeat an earlier one{left}", report["repeated_rows_first"]),
        (report["in_train_and_validation"], "of the training sources are in validation too, and left out of training", report["in_train_and_validation_first"]),
    ):
        if count:
            yield from _wrapped(f"  {count:,} rows {what}; the first: {', '.join(places[:2])}", "    ")
    if report["ignored_keys"]:
        yield from _wrapped(f"  keys that are not used: {', '.join(report['ignored_keys'])}", "    ")
