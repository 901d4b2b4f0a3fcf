"""The end of the data gate: raises where the rows are not fit to train on, with what is wrong, where, and what to do."""

from difflib import get_close_matches
from typing import Any, NoReturn

from entrypoint.run.formats import METHODS
from entrypoint.run.rows import NAMED
from entrypoint.run.tally import Tally
from schemas.errors import GateRefused
from schemas.job import PrepareJob

ANSWERS = ("completion", "response", "answer", "output", "chosen", "rejected", "rejected_response", "label")
"""Names of answers and judgements, one letter beside which is a mistake."""

SHOWN = 5
"""Bad rows that a refusal names."""


TOOLS = "use a model whose own chat template shows tools, or write the path of a Jinja file that does as data.template: no named template does"
WITHOUT_TOOLS = ("the chat template leaves descriptions of tools out", "the chat template leaves tool calls out", "this template has no tool turns")
"""What rows with tools are rejected with, by template.py and by the named templates."""


def judge(tally: Tally, job: PrepareJob, positions: int | None) -> None:
    """Raise GateRefused where too much was left out. `positions` are the model's, in tokens."""
    judge_so_far(tally, job, positions)
    if not tally.train.rows:
        _refuse_no_rows(tally, job, positions)


def judge_so_far(tally: Tally, job: PrepareJob, positions: int | None) -> None:
    """The same of rows behind which others come: that none is left to train on cannot be said of them yet."""
    if tally.rest_lost:
        first = tally.rest_lost[0]
        more = f"; {len(tally.rest_lost) - 1} more files" if len(tally.rest_lost) > 1 else ""
        raise GateRefused(
            f"{_told(first)}; the rows behind this place are lost{more}",
            "mend the file or take it out: no share of max_rejected covers rows that nobody has counted",
        )
    _judge_kinds(tally, job)
    if tally.rejected > job.max_rejected * max(1, tally.read):
        raise GateRefused(
            f"{tally.rejected} of {tally.read} rows are bad ({tally.rejected / tally.read:.1%}), data.max_rejected allows {job.max_rejected:.1%}:{_bad(tally)}",
            _remedy(tally),
        )
    if tally.too_long and job.too_long in ("error", "split"):
        first, reason = tally.too_long_rows[0], " and cannot be split between turns" if job.too_long == "split" else ""
        raise GateRefused(
            f"{tally.too_long} of {tally.read} rows are longer than {job.max_length} tokens{reason}; the first is {first['where']} with {first['tokens']},"
            f" the longest has {tally.longest_seen}",
            f"{_longer(job, positions)}, or write too_long: {'' if tally.too_long == tally.read else 'drop to leave them out, '}truncate to cut them",
        )


def _remedy(tally: Tally) -> str:
    """What to do about bad rows; a share is not offered where it would leave all out, or a whole source of another kind."""
    if _all_for_want_of_tools(tally):
        return TOOLS
    if tally.rejected == sum(tally.other_kinds.values()):
        return _way_out(max(tally.other_kinds, key=lambda kind: tally.other_kinds[kind]), tally)
    return "mend the rows" if tally.rejected == tally.read else "mend the rows, or raise data.max_rejected"


def _judge_kinds(tally: Tally, job: PrepareJob) -> None:
    """All rows are for another method: not the rows are wrong then."""
    other = sum(tally.other_kinds.values())
    if other and other == tally.rejected and not tally.train.rows and not tally.validation.rows:
        kind = max(tally.other_kinds, key=lambda k: tally.other_kinds[k])
        formats = ", ".join(sorted({s.format for s in tally.sources}))
        raise GateRefused(f"none of {tally.read} rows is of a kind that {job.method} takes: their format is {formats}", _way_out(kind, tally))


def _way_out(kind: str, tally: Tally) -> str:
    """What to do with rows of another kind than the method's."""
    methods = METHODS[kind]  # type: ignore[index]
    if kind == "prompt":
        answers = [key for key in tally.extra if key in ANSWERS]
        if answers and any(source.format == "prompt" and source.why == NAMED for source in tally.sources):
            return f"questions alone are for {methods}; these rows have `{answers[0]}`: leave `format: prompt` out"
        if side := next((key for key in answers if key in ("chosen", "rejected")), None):
            return f"questions alone are for {methods}; a pair has `chosen` and `rejected`, and these rows `{side}` alone"
        if answers and answers[0] != "label":
            return f"questions alone are for {methods}; where `{answers[0]}` is their answer, map it: columns: {{completion: {answers[0]}}}"
        near = {key: found[0] for key in tally.extra if (found := get_close_matches(key, ANSWERS, n=1, cutoff=0.7))}
        meant = f"; {', '.join(f'`{key}` is like `{name}`' for key, name in near.items())}" if near else ""
        unread = f" (not read: {', '.join(list(tally.extra)[:6])})" if tally.extra else ""
        return f"questions alone are for {methods}; where their answers have other names{unread}, map them with `columns`{meant}"
    if kind == "labelled":
        return f"these rows are for {methods}; write that method, or name their format without the label (completion, say) to learn every answer as a good one"
    if kind == "pair":
        alone = "messages, or completion with columns: {completion: chosen}"
        return f"these rows are for {methods}; write that method, or name a format without the worse answer ({alone}) to learn the better one alone"
    return f"these rows are for {methods}; write that method, or name another format for the source"


def _refuse_no_rows(tally: Tally, job: PrepareJob, positions: int | None) -> NoReturn:
    """Raise GateRefused with where the rows went, and the fix for the most of them."""
    left_out = sum(s.left_out for s in tally.sources)
    went = (
        (0 if job.validation else tally.validation.rows, "are held back for validation", "lower data.validation"),
        (tally.too_long, f"are longer than {job.max_length} tokens", _longer(job, positions)),
        (tally.rejected, "are bad", "mend the rows"),
        (tally.leaked, "are also in validation", "take other rows for validation"),
        (left_out, "are left out by weight or max_rows", "raise weight or max_rows"),
    )
    shown = ", ".join(f"{count} {what}" for count, what, _ in went if count)
    raise GateRefused(f"no training rows are left of {tally.read}{f': {shown}' if shown else ''}{_bad(tally)}", max(went, key=lambda w: w[0])[2])


def _all_for_want_of_tools(tally: Tally) -> bool:
    """Not the rows are wrong then, and no share of them would be trained on."""
    said = (f"{reason}: {kept['first']['detail']}" for reason, kept in tally.reasons.items())
    return all(any(words in one for words in WITHOUT_TOOLS) for one in said)


def _bad(tally: Tally) -> str:
    shown = tally.rejected_rows[:SHOWN]
    lines = [_told(row) for row in shown]
    more = tally.rejected - len(lines)
    return "".join(f"\n  {line}" for line in lines) + (f"\n  and {more} more" if more else "")


def _told(row: dict[str, Any]) -> str:
    return ": ".join(filter(None, (row["where"], row["reason"], row["detail"])))


def _longer(job: PrepareJob, positions: int | None) -> str:
    """The fix for rows that are too long: the limit can be raised up to the model's own."""
    if positions and job.max_length >= positions:
        return f"shorten these rows: the model has {positions} positions, so data.max_length cannot be raised"
    return "raise data.max_length"
