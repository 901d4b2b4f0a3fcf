"""How much each step computes: known before it runs, since the order of the rows is."""

import numpy as np

from entrypoint.run.row_order import RowOrder


class StepWork:
    """Tokens with their padding, of the rank that has most in each micro-batch; rows where lengths are not known."""

    def __init__(self, order: RowOrder, lengths: np.ndarray | None):
        """`lengths`: int64 of shape (rows,)."""
        self.order, self.lengths = order, lengths
        self.steps: np.ndarray = np.zeros(0)
        """Work of the steps of this epoch that were not taken when it was computed, float64."""

        self.at = 0
        self.whole: float | None = None
        """Mean of a step over a whole epoch."""

    def of_step(self) -> float:
        """Of the step under way; moves on to the next. Call once a step, before the order moves on."""
        if self.at >= len(self.steps):
            self.steps, self.at = step_work(self.order, self.lengths), 0
            if self.order.start == 0:
                self.whole = float(self.steps.mean())
        self.at += 1
        return float(self.steps[self.at - 1])

    def left(self, steps: int) -> float:
        """Of so many steps from the next one on."""
        here = self.steps[self.at : self.at + steps]
        mean = self.whole if self.whole is not None else float(self.steps.mean()) if len(self.steps) else 1.0
        return float(here.sum()) + (steps - len(here)) * mean


def step_work(order: RowOrder, lengths: np.ndarray | None) -> np.ndarray:
    """Work of each step from the order's position to the end of its epoch, float64 of shape (steps,)."""
    each = order.rows_per_step
    if lengths is None:
        left = order.rows - order.start
        return np.minimum(each, left - each * np.arange(-(-left // each))).astype(np.float64)
    taken = np.asarray(order.permutation(order.epoch))[order.start :]
    padded = np.zeros(-(-len(taken) // each) * each, dtype=np.int64)
    padded[: len(taken)] = lengths[taken]
    # The rows of a micro-batch are dealt to the ranks one by one.
    dealt = padded.reshape(-1, order.accumulation, order.micro_batch, order.ranks)
    of_ranks = dealt.max(axis=2) * (dealt > 0).sum(axis=2)
    found: np.ndarray = of_ranks.max(axis=2).sum(axis=1).astype(np.float64)
    return found
