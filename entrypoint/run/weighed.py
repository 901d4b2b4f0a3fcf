"""What a row, or a token, weighs in the loss of a step and of a validation: the same, however both were batched and dealt out."""

from typing import Any

import torch
from transformers import Trainer

from entrypoint.run.ranks import ranks
from entrypoint.run.row_order import RowOrder
from entrypoint.run.token_rows import IGNORED


class Weighed(Trainer):
    """Stands before a trainer of TRL's. Batches of rows that are compared have `counts`: which of them are rows and none that stands in for one."""

    order: RowOrder

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As TRL's. Where that is a mean over the rows of a batch, each row of a step weighs the same, however the step was split."""
        counts = inputs.pop("counts", None)
        loss = super().compute_loss(model, inputs, *args, **kwargs)
        if counts is None or not self.model.training:
            return loss
        # What follows divides by micro-batches and ranks as if all were full: the last step of an epoch, or a rank without a row, is not.
        in_step = min(self.order.rows_per_step, self.order.rows - self.order.start)
        share = int(counts.sum()) * self.current_gradient_accumulation_steps * ranks() / in_step
        return loss if share == 1 else loss * share

    def prediction_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As TRL's; its loss is added up by the tokens, or the rows, that it is a mean of."""
        learned = (inputs["counts"] if "counts" in inputs else inputs["labels"][..., 1:] != IGNORED).sum().to(self.args.device)
        found = super().prediction_step(model, inputs, *args, **kwargs)
        self.evaluated += torch.stack([found[0].double() * learned, learned.double()])
        return found

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """As TRL's, with a loss that is a mean over tokens or rows, however they are batched: transformers' is a mean over batches."""
        self.evaluated = torch.zeros(2, dtype=torch.float64, device=self.args.device)
        found = super().evaluation_loop(*args, **kwargs)
        if ranks() > 1:
            torch.distributed.all_reduce(self.evaluated)
        found.metrics["eval_loss"] = float(self.evaluated[0] / self.evaluated[1])
        return found
