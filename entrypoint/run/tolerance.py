"""How far a served form of a model may stand from the tuned model and still count as the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from entrypoint.run.greedy import LARGEST_DIFFERENCE


@dataclass(frozen=True)
class Tolerance:
    """In nats, of log-probabilities."""

    tie: float
    """Two first choices this close may swap."""

    worst: float
    """Of one token that both answers share."""

    mean: float
    """Over all tokens that both answers share: a shift that no single token shows."""


BF16 = Tolerance(0.6, LARGEST_DIFFERENCE, 0.1)
"""Measured: SmolLM2-135M rounded to bf16 moves a token by up to 0.13 (greedy.py). Served by vLLM on a CPU, which also computes in bf16, against the tuned
model in fp32: 0.166 at most and 0.029 on average over ten prompts, half of the answers parting at a near tie; a two-layer model that learned its rows by
heart: 0.030 and 0.0012. Each of two choices may move its own way, so twice the largest move may swap them: a lead of 0.35 was lost in the demo. 0.6 has
room for half as much again; weights that are wrong move the mean, and the tokens before the parting, by far more."""

TOLERANCES = {
    "safetensors": BF16,
    "adapter": BF16,  # served on its bf16 base: rounding once more, in the product of two small matrices
    # Estimates, to be measured on a GPU. Eight bits keep 2 to 3 significant digits of a weight where bf16 keeps 3: about three times the noise.
    "fp8": Tolerance(1.0, 1.5, 0.2),
    "int8": Tolerance(1.0, 1.5, 0.2),
    # Four bits with scales by group: published losses in perplexity are 0.05 to 0.15 nats a token, single tokens move by far more.
    "awq": Tolerance(2.0, 3.0, 0.4),
    "gptq": Tolerance(2.0, 3.0, 0.4),
}
"""By the kind of the export."""


NF4_FACTOR = 5.0
"""An adapter that was trained on a base in NF4 answers there, in the training's own precision, as no export can: its base is another one."""


def tolerance_of(job: Mapping[str, Any]) -> Tolerance:
    """For what an export's manifest says of its making. A kind that is not in the table gets the strictest: it must be entered with a reason."""
    found = TOLERANCES.get(str(job.get("kind")), BF16)
    if job.get("trained_on") != "nf4":
        return found
    return Tolerance(max(found.tie, BF16.tie * NF4_FACTOR), max(found.worst, BF16.worst * NF4_FACTOR), max(found.mean, BF16.mean * NF4_FACTOR))
