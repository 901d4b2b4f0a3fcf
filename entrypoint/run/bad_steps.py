"""Steps whose gradients are not numbers: skipped, counted, named; too many in a row end the run."""

import math
from collections.abc import Callable
from typing import Any

import torch

from entrypoint.run.ranks import ranks
from entrypoint.run.row_order import RowOrder
from schemas.errors import GateRefused

NAMED = 8
"""Rows that a message names; the event has all."""


class BadSteps:
    """Judges each step by the norm of its gradients, which is the same on every rank."""

    def __init__(self, limit: int, report: Callable[[int, list[int], float], None]):
        self.limit, self.report = limit, report
        self.losses: list[torch.Tensor] = []
        """Of the micro-batches of the step under way, this rank's."""

        self.now = False
        """Whether the step under way is one."""

        self.count = self.in_a_row = 0

    def judge(self, norm: Any, step: int, order: RowOrder, scale: float | None) -> None:
        """Look at a step before its optimizer does; GateRefused at the limit."""
        losses, self.losses = self.losses, []
        if norm is None or math.isfinite(norm):
            self.in_a_row = 0
            return
        self.now = True
        culprits = _culprits(losses)
        if not culprits and scale is not None and scale > 1:
            return  # fp16: the scale was too high; it is halved, and the step is not the data's fault
        rows = sorted({row for micro, rank in culprits for row in order.dealt(micro, rank)}) or sorted(map(int, order.step_rows()))
        self.count += 1
        self.in_a_row += 1
        self.report(step, rows, float(norm))
        if self.in_a_row >= self.limit:
            named = ", ".join(map(str, rows[:NAMED])) + (", ..." if len(rows) > NAMED else "")
            raise GateRefused(
                f"the gradients are not numbers for {self.in_a_row} steps in a row, the last is step {step} with rows {named}",
                "lower train.learning_rate, or check the base model's weights; nothing was sealed but what was good",
            )

    def end(self, steps: int) -> None:
        """GateRefused for a run in which not one step counted."""
        if steps and self.count >= steps:
            raise GateRefused(
                "the gradients of every step were not numbers", "lower train.learning_rate, or check the base model's weights; nothing was sealed"
            )

    def counts(self) -> dict[str, int]:
        """For a checkpoint."""
        return {"count": self.count, "in_a_row": self.in_a_row}

    def set_counts(self, counts: dict[str, int]) -> None:
        """From a checkpoint."""
        self.count, self.in_a_row = counts["count"], counts["in_a_row"]


def _culprits(losses: list[torch.Tensor]) -> list[tuple[int, int]]:
    """(micro-batch, rank) of each loss that is not a number, over all ranks: every rank asks, since the norm is bad for all."""
    mine = [index for index, loss in enumerate(losses) if not bool(torch.isfinite(loss).all())]
    if ranks() == 1:
        return [(index, 0) for index in mine]
    found: list[list[int]] = [[] for _ in range(ranks())]
    torch.distributed.all_gather_object(found, mine)
    return [(index, rank) for rank, indexes in enumerate(found) for index in indexes]
