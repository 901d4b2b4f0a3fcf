"""The parity gate of serve: one model of an engine, asked the golden prompts of the folder that it was made from; said, recorded, refused."""

import time
from pathlib import Path

from entrypoint.run.engine_client import EngineClient, EngineError
from entrypoint.run.events import Events, say
from entrypoint.run.seal import read_manifest
from entrypoint.run.serve_parity import Outcome, has_template, judge, read_golden
from entrypoint.run.side_by_side import refusal
from entrypoint.run.tolerance import tolerance_of
from schemas.errors import StepFailed


def pass_gate(client: EngineClient, folder: Path, tokenizer: Path, events: Events, *, warns: bool) -> None:
    """`folder` holds the golden answers, `tokenizer` the template that is served. Raises GateRefused with a side-by-side of the first
    difference, which is only printed where the spec `warns`, and StepFailed where the engine does not answer."""
    start = time.monotonic()
    golden = read_golden(folder)
    manifest = read_manifest(folder)
    allowed = tolerance_of(manifest.job if manifest else {})
    try:
        outcome = judge(client, golden, allowed, chat=has_template(tokenizer), limit=client.limit())
    except EngineError as error:
        raise StepFailed(f"serve: parity: the engine does not answer: {error}", "its output above may say why") from None
    found = outcome.difference
    refused = refusal(found, outcome.of, tokenizer) if found else None
    events.write(
        "parity", stage="serve", model=client.model, export=folder.name, verdict="passed" if refused is None else "warned" if warns else "refused", of=outcome.of,
        equal=outcome.equal, ties=outcome.ties, ends=outcome.ends, too_long=outcome.too_long, largest_difference=round(outcome.worst, 6),
        mean_difference=round(outcome.mean, 6), seconds=round(time.monotonic() - start, 1), **({"what": refused.what} if refused else {}),
    )  # fmt: skip
    if refused and not warns:
        raise refused
    say(f"serve: warning: {refused}" if refused else _passed(outcome, f"{client.model}: {folder.name}"))


def _passed(outcome: Outcome, what: str) -> str:
    ties = f", {outcome.ties} part at a near tie" if outcome.ties else ""
    ties += f", {outcome.too_long} too long for serve.max_length to be answered" if outcome.too_long else ""
    ends = f"; the end token was honoured in {outcome.ends}" if outcome.ends else "; no golden answer ends, so the end token was not seen"
    return (
        f"serve: parity: {what}: {outcome.of} golden prompts read alike, {outcome.equal} answered token for token{ties}{ends}; "
        f"log-probabilities differ by at most {outcome.worst:.3f}, {outcome.mean:.4f} on average"
    )
