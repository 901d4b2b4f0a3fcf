"""Steps with other rows at once than planned: fewer where one ran out of memory and is repeated, more where there was room; the same rows, the same loss
to rounding, the same optimizer step."""

import gc
from collections.abc import Callable
from typing import Any

import torch
from transformers import Trainer

from entrypoint.run import randomness
from entrypoint.run.lowered import LESS, fewer, is_out_of_memory
from entrypoint.run.ranks import rank, ranks
from entrypoint.run.row_order import RowOrder
from schemas.errors import CaissonError, MachineError


class Replayed(Trainer):  # type: ignore[misc]
    """Stands before a trainer of TRL's, for one process. Of several one that fails leaves the others waiting inside the step: it ends the run with
    what `give_up` makes of it. Set `give_up`, `report_lowered` and `compares_rows` before `train`."""

    order: RowOrder
    dealt: Any
    bad_steps: Any
    current_gradient_accumulation_steps: float
    rows_at_once: int | None = None
    """Where fewer than a micro-batch has, each micro-batch is computed in parts; where more, several are computed together. None: as they come."""

    seen = 0
    """Tokens of the largest batch so far, padding included."""

    compares_rows = False
    """Whether rows of a batch enter each other's loss: a part of them has another loss."""

    give_up: Callable[[int], CaissonError]
    """Step -> why a run of several processes ends."""

    report_lowered: Callable[[int, int, int], None]
    """Step, rows at once before, and from now on."""

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        """As transformers'; notes how things are before the step that it draws for."""
        found = super().get_batch_samples(*args, **kwargs)
        self.micro = self.computed = 0
        if ranks() == 1:
            metrics = getattr(self, "_metrics", {}).get("train", {})
            self.before = (
                randomness.now(), self._tr_loss.clone(), getattr(self, "_total_train_tokens", 0), {name: len(values) for name, values in metrics.items()}
            )  # fmt: skip
        return found

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """As TRL's, of one micro-batch. The loss that is returned after a failure is that of the step so far."""
        failed = False
        if "input_ids" in inputs:
            self.seen = max(self.seen, inputs["input_ids"].numel())
        try:
            if self.rows_at_once is None:
                loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
            else:
                loss = self._otherwise(model, self.micro, num_items_in_batch)
        except RuntimeError as error:  # torch.OutOfMemoryError is one
            if not is_out_of_memory(error):
                raise
            failed = True
        # The failed pass is kept alive by the error's traceback, which is gone only here.
        if failed:
            loss = self._again(model, num_items_in_batch)
        self.micro += 1
        return loss

    def _again(self, model: Any, items: Any) -> torch.Tensor:
        """Everything of the step so far, with half the rows at once, or a quarter and so on; at one row there is nothing left to lower."""
        while True:
            step = self.state.global_step + 1
            if ranks() > 1:
                raise self.give_up(step)
            at_once = self.rows_at_once or self.order.micro_batch
            if self.compares_rows:
                raise MachineError(f"the memory ran out at step {step} with {at_once} rows at once, which this method compares with each other", LESS)
            if at_once == 1:
                raise MachineError(f"the memory ran out at step {step} with one row at once (row {self.order.dealt(self.micro, rank())[0]})", LESS)
            self.rows_at_once = fewer(at_once, self.order.micro_batch)
            self._put_back(model)
            self.report_lowered(step, at_once, self.rows_at_once)
            try:
                return torch.stack([self._otherwise(model, micro, items) for micro in range(self.micro + 1)]).sum()
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise

    def _put_back(self, model: Any) -> None:
        """As it was before the step: gradients, random numbers, and what was added up."""
        for parameter in model.parameters():
            parameter.grad = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.computed = 0
        random, loss, tokens, lengths = self.before
        randomness.put_back(random)
        self._tr_loss.copy_(loss)
        if hasattr(self, "_total_train_tokens"):
            self._total_train_tokens = tokens
        for name, values in getattr(self, "_metrics", {}).get("train", {}).items():
            del values[lengths.get(name, 0) :]

    def _otherwise(self, model: Any, micro: int, items: Any) -> torch.Tensor:
        """One micro-batch of the step with other rows at once than it has."""
        assert self.rows_at_once is not None
        few = self.rows_at_once <= self.order.micro_batch
        return self._in_parts(model, micro, items) if few else self._together(model, micro, items)

    def _together(self, model: Any, micro: int, items: Any) -> torch.Tensor:
        """Nothing yet, or all that is waiting where that is enough or the step ends; their loss."""
        assert self.rows_at_once is not None
        waiting, whole = range(self.computed, micro + 1), self.current_gradient_accumulation_steps
        if len(waiting) * self.order.micro_batch < self.rows_at_once and micro + 1 < whole:
            return torch.zeros((), device=self.args.device)
        numbers = [number for one in waiting for number in self.order.dealt(one, rank())]
        try:
            self.current_gradient_accumulation_steps = whole / len(waiting)  # what is a mean over micro-batches is one over what is computed
            loss: torch.Tensor = super().training_step(model, self.data_collator([self.dealt[number] for number in numbers]), items)
        finally:
            self.current_gradient_accumulation_steps = whole
        self.computed = micro + 1
        return loss

    def _in_parts(self, model: Any, micro: int, items: Any) -> torch.Tensor:
        """One micro-batch of the step in parts, each collated for itself; the sum of their losses."""
        assert self.rows_at_once is not None
        numbers = self.order.dealt(micro, rank())
        parts = [numbers[at : at + self.rows_at_once] for at in range(0, len(numbers), self.rows_at_once)]
        whole, losses = self.current_gradient_accumulation_steps, []
        try:
            self.current_gradient_accumulation_steps = whole * len(parts)  # what is a mean over micro-batches is one over parts
            for part in parts:
                losses.append(super().training_step(model, self.data_collator([self.dealt[number] for number in part]), items))
        finally:
            self.current_gradient_accumulation_steps = whole
        return torch.stack(losses).sum()
