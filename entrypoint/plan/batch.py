"""How many rows make an optimizer step, and how many steps lie between two checkpoints."""

import math
from dataclasses import dataclass

from entrypoint.plan.saves import COST, Saves
from schemas.plan import Decision
from schemas.spec import Spec

STEPS_PER_EPOCH = 32
"""Aim of the automatic batch: small sets still get this many updates an epoch."""

BATCH_TOKENS = (512, 65_536)
"""Bounds of the automatic batch, in tokens."""

CHECKPOINTS_PER_RUN = 20
"""Of an adapter: they are small."""

LARGE_CHECKPOINT_GIB = 2.0
LARGE_CHECKPOINTS_PER_RUN = 4
"""Of more than LARGE_CHECKPOINT_GIB: writing and hashing one takes longer than many steps."""


@dataclass(frozen=True)
class Rows:
    """What is known of the rows: counted by prepare, or assumed before it ran."""

    count: int | None
    mean: float
    """Tokens."""

    longest: int
    """Tokens."""

    assumed: bool
    pack: int | None = None
    """Tokens of a pack, where these rows are packs; None: they are rows."""

    inside: int = 0
    """Tokens of the longest row of a pack; 0: these are no packs."""

    sizes: tuple[tuple[int, int], ...] = ()
    """Different lengths, falling, and how many rows have each; empty where they are not known."""

    streamed: bool = False
    """Nobody counts them before they are trained on; the mean is that of the first ones."""

    def words(self, count: int) -> str:
        """So many of them, for people."""
        return f"{count:,} {'pack' if self.pack else 'row'}{'' if count == 1 else 's'}"


def step_tokens(spec: Spec, rows: Rows) -> tuple[int, str]:
    """Tokens that one optimizer step learns from, and why."""
    tokens = spec.train.batch_tokens
    if tokens:
        return tokens, "set in the spec"
    if rows.count is None:
        return BATCH_TOKENS[1], "largest automatic batch, as the rows are streamed" if rows.streamed else "largest automatic batch until the rows are counted"
    epoch = rows.count * rows.mean
    tokens = int(min(max(epoch / STEPS_PER_EPOCH, BATCH_TOKENS[0]), BATCH_TOKENS[1]))
    return tokens, f"{epoch:,.0f} tokens an epoch over {STEPS_PER_EPOCH} steps, kept within {BATCH_TOKENS[0]} and {BATCH_TOKENS[1]:,}"


def batch_rows(spec: Spec, rows: Rows, ranks: int, decisions: list[Decision]) -> int:
    """Rows of one optimizer step over all ranks."""
    tokens, why = step_tokens(spec, rows)
    if rows.streamed:
        why += f"; {'packs are full' if rows.pack else f'mean of the first rows: {rows.mean:.0f} tokens'}"
    elif rows.assumed:
        why += f"; {'packs' if rows.pack else 'rows'} of {rows.longest:,} tokens assumed until prepare has counted them"
    else:
        why += f"; counted mean {'pack' if rows.pack else 'row'} of {rows.mean:.0f} tokens"
    count = max(1, round(tokens / rows.mean))
    if rows.count is not None:
        count = min(count, rows.count)
    if count < ranks:
        count, why = ranks, f"{why}; at least {rows.words(1)} for each of {ranks} processes"
    decisions.append(Decision(field="train.batch_tokens", value=f"{tokens:,} ({rows.words(count)})", why=why))
    return count


def checkpoint_every(spec: Spec, rows: Rows, step_rows: int, saves: Saves, decisions: list[Decision]) -> int:
    """Optimizer steps between two checkpoints."""
    if spec.train.checkpoint.every:
        return spec.train.checkpoint.every
    if rows.count is None and not rows.streamed:
        return 100
    # As the trainer counts: the last batch of an epoch may be short.
    steps = spec.train.max_steps or max(1, math.ceil(spec.train.epochs * math.ceil((rows.count or 1) / step_rows)))
    # An adapter's are small, a whole model's take longer to write than many steps.
    wanted = CHECKPOINTS_PER_RUN if saves.gib < LARGE_CHECKPOINT_GIB else LARGE_CHECKPOINTS_PER_RUN
    every = max(1, -(-steps // wanted))
    value, why = f"{every} steps", f"about {wanted} in {steps} steps"
    if saves.gib:
        value += f", at least {saves.apart:.1f} s apart"
        why += f"; {saves.words}, and saves are to cost less than {COST:.0%} of the time"
    decisions.append(Decision(field="train.checkpoint.every", value=value, why=why))
    return every
