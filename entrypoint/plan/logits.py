"""Bytes of a loss over the output head."""

from typing import Literal

from entrypoint.plan.activations import stream_bytes
from entrypoint.plan.load import OWN_WEIGHTS, Load
from entrypoint.plan.model_shape import ModelShape

TILE = (4096, 32768)
"""Tokens x words whose logits exist at once: TRL computes the loss in tiles (trl.kernels.chunked_logprob) and allocates all of one's words."""

COPIES = {"forward": 13, "backward": 29}
"""Bytes of a tile's element beside itself on a CPU, counted in TRL's own functions for devices without Triton."""

STATISTICS = 60
"""Bytes a token: sums of the loss in fp32, labels and masks."""

WHOLE = {"plain": 12, "whole": 14, "compared": 68, "answered": 28}
"""Bytes a logit where a loss holds all of them, with what it keeps for the backward pass. Plain: fp32 logits, their log-softmax and its gradient. The
others were measured in bench/methods: 10 to 11.4 and 67.5 in fp32; in bf16 the softmax of each answer is kept in fp32 beside them, which makes 14 of
the first, and 28 of the 23.9 over a teacher's answers."""


FORWARD = 10
"""The same before the gradient: 16-bit logits, fp32 ones and their log-softmax."""


def final_bytes(shape: ModelShape, load: Load) -> int:
    """A token: the last norm, and its output where the head reads it."""
    stream = stream_bytes(shape, load)
    kept = 4 * shape.hidden + stream
    return kept + (stream if load.adapter in OWN_WEIGHTS else 0)


def logits_bytes(shape: ModelShape, load: Load, way: Literal["forward", "backward"]) -> float:
    """At the widest moment of the head: tiles, or all logits; backwards also the gradient of what the head reads, in fp32 and in the stream's type."""
    if load.logits == "none":
        return 0.0
    if load.logits in WHOLE:
        head = load.width * shape.vocabulary * shape.hidden if load.casts and load.adapter in OWN_WEIGHTS else 0  # its weights, cast
        return float(head + load.tokens * shape.vocabulary * (FORWARD if way == "forward" and load.logits == "plain" else WHOLE[load.logits]))
    stream = stream_bytes(shape, load)
    found = _tile(shape, load, way) + load.tokens * (STATISTICS + stream + (4 * shape.hidden if way == "backward" else 0))
    if load.all_logits:
        found += load.tokens * shape.vocabulary * WHOLE["plain"]
    if load.casts and load.adapter in OWN_WEIGHTS:  # the head's slice and the tokens', cast
        found += load.width * shape.hidden * (TILE[1] + TILE[0])
    return float(found)


def _tile(shape: ModelShape, load: Load, way: Literal["forward", "backward"]) -> int:
    """A GPU's kernels work inside the tile; a CPU makes fp32 copies of it, one after the other and some at once."""
    tokens = min(load.tokens, TILE[0])
    copies = 0 if load.on_gpu else COPIES[way] * min(shape.vocabulary, TILE[1])
    return tokens * (load.width * TILE[1] + copies)


def head_gradient(shape: ModelShape, load: Load) -> float:
    """Of the head's weights in fp32: there before any layer's."""
    return 4.0 * shape.vocabulary * shape.hidden if load.adapter == "full" or load.tables else 0.0
