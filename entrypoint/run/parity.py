"""Whether an exported folder answers as the tuned model did, and parity.json, which says so prompt by prompt."""

import json
from pathlib import Path
from typing import Any

from entrypoint.run.events import Events, say
from entrypoint.run.greedy import LARGEST_DIFFERENCE, NEAR_TIE, Answer, Verdict, compare
from schemas.errors import GateRefused

FILE_NAME = "parity.json"

OTHER_BASE = 5.0
"""How many times as far answers may lie apart where the base was held in NF4 while the adapter was trained: its answers were computed in the
training's own precision, and its weights are rounded once more, or are those of the full base."""

ROUNDED = 2.0
"""The same where both were computed in bf16, as the model did not fit otherwise: every product is rounded, not only the weights."""


MUCH = 0.5
"""Rounding as a share of the update from which on it explains other answers. Measured on SmolLM2-135M after three steps, where it was above: log-probabilities
moved by up to 0.89 nats, those of the same merge in fp32 by 0.00002."""


def check_answers(
    output: Path, golden: list[dict[str, Any]], before: list[Answer], after: list[Answer], factor: float, events: Events, lost: float | None = None
) -> dict[str, Any]:
    """Compare, write parity.json, and raise GateRefused with both answers at the first that is not explained by rounding; `factor`: how many times as
    far answers may lie apart as weights that are rounded move them; `lost`: what rounding is of the update."""
    verdicts = [compare(b, a, NEAR_TIE * factor) for b, a in zip(before, after, strict=True)]
    write_parity(output, golden, before, after, verdicts)
    worst = max((v.largest_difference for v in verdicts), default=0.0)
    same, ties = sum(v.equal for v in verdicts), sum(v.tie for v in verdicts)
    say(f"  {same} of {len(golden)} answers are equal token for token, {ties} part at a near tie; log-probabilities differ by at most {worst:.4f}")
    events.write("parity", equal=same, ties=ties, of=len(golden), largest_difference=round(worst, 6))
    for at, verdict in enumerate(verdicts):
        if not (verdict.equal or verdict.tie) or verdict.largest_difference > LARGEST_DIFFERENCE * factor:
            refuse(output, golden[at], before[at], after[at], lost)
    return {"golden": len(golden), "equal": same, "near_ties": ties, "largest_logprob_difference": round(worst, 6)}


def write_parity(output: Path, golden: list[dict[str, Any]], before: list[Answer], after: list[Answer], verdicts: list[Verdict]) -> None:
    """The prompts with both answers and the verdict."""
    rows = [
        {
            **asked,
            "answer_ids": b.ids,
            "logprobs": [round(p, 6) for p in b.logprobs],
            "exported_ids": a.ids,
            "exported_logprobs": [round(p, 6) for p in a.logprobs],
            "exported_margins": [round(p, 6) for p in a.margins],
            "equal": v.equal,
            "near_tie": v.tie,
            "largest_difference": round(v.largest_difference, 6),
        }
        for asked, b, a, v in zip(golden, before, after, verdicts, strict=True)
    ]
    (output / FILE_NAME).write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def refuse(output: Path, asked: dict[str, Any], before: Answer, after: Answer, lost: float | None = None) -> None:
    """Raise GateRefused with the two answers side by side."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(output, local_files_only=True)
    raise GateRefused(
        f"the exported model answers {_short(asked['messages'][-1]['content'])!r} differently\n"
        f"  tuned:    {tokenizer.decode(before.ids)!r}\n  exported: {tokenizer.decode(after.ids)!r}",
        too_small(lost) if lost is not None and lost > MUCH else "the export is not sealed; look at the adapter's targets and the base's revision",
    )


def too_small(lost: float) -> str:
    """What to do about an update that bf16 cannot hold: a LoRA of few steps moves weights by less than the distance of two numbers in bf16."""
    return (
        f"rounding to bf16 moves the weights {lost:.0%} as far as the training did: the update is too small to be merged. "
        "Train for more steps, or write `export: [{kind: adapter}]` and serve the adapter on its base"
    )


def _short(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:60]} ... {text[-50:]}"
