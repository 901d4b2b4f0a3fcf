"""TRL's trainer with checkpoints that are sealed behind its back, a resume that is exact, and a stop that all ranks agree on."""

import math
import signal
import time
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from transformers import PrinterCallback, TrainerCallback
from trl import SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from entrypoint.run import randomness
from entrypoint.run.bad_steps import BadSteps
from entrypoint.run.engine_state import base_optimizer, fragments, restore
from entrypoint.run.fsdp import full_state, shard
from entrypoint.run.ranks import rank, ranks
from entrypoint.run.resume import Resume
from entrypoint.run.row_order import InOrder, RowOrder
from entrypoint.run.saver import Saver
from entrypoint.run.token_rows import IGNORED
from entrypoint.run.watchdog import Watchdog
from schemas.manifest import Manifest

Collator = DataCollatorForLanguageModeling
"""Pads ids with the pad token and labels with -100: where pad and end token are one, the mask still tells them apart."""


class SealedTrainer(SFTTrainer):
    """Set `order`, `dealt`, `saver`, `watchdog`, `bad_steps`, `checkpoint_manifest` and, to go on from a checkpoint, `resumed` before `train`."""

    order: RowOrder
    dealt: Any
    """What the numbers of `order` stand for: rows, or packs of them."""

    validated: Any = None
    """The same for validation; None without one."""

    saver: Saver
    watchdog: Watchdog
    bad_steps: BadSteps
    checkpoint_manifest: Manifest
    segments: list[dict[str, Any]]
    """How each stretch of the run was trained, oldest first; the last one is how it is trained now."""

    checkpoint_seconds: float | None = None
    """Save when this much time has passed since the last; None: by steps alone."""

    checkpoint_apart: float | None = None
    """Seconds between two saves at least; one that is due by steps is put off until then, and until the one before has ended. None: it is not."""

    resumed: Resume | None = None
    started_at = 0
    """Optimizer steps that were taken before this process began."""

    validation_due = False
    """An epoch ended in a stop: its validation is made up for before the next step."""

    def __init__(self, *args: Any, fsdp: dict[str, Any] | None = None, **kwargs: Any):
        self.fsdp = fsdp
        super().__init__(*args, **kwargs)
        self.remove_callback(PrinterCallback)
        self.add_callback(Pace(self))
        self.stop_asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_to_stop)

    def _ask_to_stop(self, *_: object) -> None:
        self.stop_asked = True

    # Rows: one order for any number of processes, and a position in it instead of batches that are drawn and thrown away.

    def get_train_dataloader(self) -> Any:
        """Micro-batches of this rank from the current position on."""
        return self._batches(self.dealt, self.order)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """Every row of the validation once, over all ranks: none is taken twice to fill a batch."""
        return self._batches(self.validated, InOrder(len(self.validated), self.args.per_device_eval_batch_size, 1, rank(), ranks(), seed=0))

    def _batches(self, dealt: Any, order: RowOrder) -> Any:
        return torch.utils.data.DataLoader(
            dealt,
            batch_sampler=order,
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
            generator=torch.Generator(),  # of its own: the iterator would draw from the one that dropout uses
        )

    def set_initial_training_values(self, args: Any, dataloader: Any) -> Any:
        """As transformers'; steps and epochs are counted on from where a checkpoint of other rows a step left off."""
        found = super().set_initial_training_values(args, dataloader)
        if self.resumed is None:
            return found
        self.resumed.set_position(self.order)
        if self.resumed.state["rows_per_step"] == self.order.rows_per_step:
            return found
        done, steps_in_epoch = self.resumed.state["step"], found[1]
        steps = args.max_steps if args.max_steps > 0 else self.order.total_steps(done, args.num_train_epochs)
        epochs = self.order.epoch + 1 + -(-(steps - done) // steps_in_epoch)
        return (epochs, *found[1:-1], steps)

    def _init_training_state(self, *args: Any) -> tuple[int, int]:
        super()._init_training_state(*args)
        if self.resumed is None:
            return 0, 0
        self.resumed.set_trainer_state(self)
        self.started_at = self.state.global_step
        return self.order.epoch, 0

    def _move_model_to_device(self, *args: Any) -> None:
        if not self.fsdp:  # whole, it need not fit on one device
            super()._move_model_to_device(*args)

    def _prepare_for_training(self, *args: Any) -> Any:
        if self.fsdp:
            shard(self.model, self.fsdp, self.args.device)
        prepared = super()._prepare_for_training(*args)
        if self.resumed is not None:
            restore(self.accelerator.unwrap_model(self.model_wrapped), self._stepping(), rank(), ranks(), self.resumed.reader)
            self.resumed.set_schedule(self, base_optimizer(self._stepping()))
        return prepared

    def _run_epoch(self, **given: Any) -> None:
        if self.validation_due:
            self.validation_due = False
            self._evaluate(trial=None, ignore_keys_for_eval=None)
        if self.state.global_step >= self.state.max_steps:  # killed behind the last checkpoint, before the weights were written
            self.control.should_training_stop = True
            return
        if self.resumed is not None:
            # What is left of this epoch, as if it were a whole one; random generators are put back before its first batch.
            given |= {
                "steps_in_epoch": len(self.order), "num_update_steps_per_epoch": self.order.steps_left(), "resume_from_checkpoint": "sealed",
                "epochs_trained": given["epoch"], "steps_trained_in_current_epoch": 0,
            }  # fmt: skip
        super()._run_epoch(**given)

    def _load_rng_state(self, checkpoint: Any) -> None:
        if self.resumed is not None:
            self.resumed.set_random(self.args.seed)
            self.resumed = None  # the rest of the run is as any other

    # Steps: those whose gradients are no numbers change nothing.

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """As TRL's; what it returns is looked at only when the step turns out bad."""
        loss: torch.Tensor = super().training_step(*args, **kwargs)
        self.bad_steps.losses.append(loss)
        return loss

    def _clip_grad_norm(self, model: Any) -> Any:
        norm = super()._clip_grad_norm(model)
        if isinstance(norm, DTensor):
            norm = norm.full_tensor()
        scale = self._loss_scale()
        self.bad_steps.judge(norm, self.state.global_step + 1, self.order, scale)
        if self.bad_steps.now and scale is None and not self.is_deepspeed_enabled:  # those skip by themselves
            for parameter in model.parameters():
                parameter.grad = None
        return norm

    def _loss_scale(self) -> float | None:
        """Of fp16; None where losses are not scaled."""
        if not self.args.fp16:
            return None
        return float(self._stepping().loss_scaler.cur_scale if self.is_deepspeed_enabled else self.accelerator.scaler.get_scale())

    def _maybe_log_save_evaluate(self, tr_loss: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        super()._maybe_log_save_evaluate(tr_loss, *args, **kwargs)
        if self.bad_steps.now:
            tr_loss.zero_()  # "not a number" minus itself would stay in every later loss
            self.bad_steps.now = False

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As TRL's, with a bad step marked and without a loss that is no number."""
        if self.bad_steps.now and "loss" in logs:
            logs["skipped"] = 1.0
            if not math.isfinite(logs["loss"]):
                del logs["loss"]
        if "train_loss" in logs:  # transformers': of this process, over the steps of all
            losses = [row["loss"] for row in self.state.log_history if "loss" in row]
            logs["train_loss"] = math.fsum(losses) / max(1, len(losses))
            if self.started_at:
                for name in ("train_runtime", "train_samples_per_second", "train_steps_per_second"):
                    logs.pop(name, None)
        super().log(logs, start_time)

    # Checkpoints.

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self.watchdog.rest()  # a slow disk is no hang
        self.saver.wait()
        self.accelerator.wait_for_everyone()
        pieces = fragments(self.accelerator.unwrap_model(self.model_wrapped), self._stepping(), rank(), ranks())
        tensors, notes = randomness.capture(rank())
        state = Resume.state_of(self) if rank() == 0 else None
        self.saver.save(self.state.global_step, [*pieces, *tensors], notes, state, self.checkpoint_manifest)

    def _stepping(self) -> Any:
        """The optimizer below accelerate's wrapper."""
        return self.optimizer.optimizer

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """As transformers'; of shares the whole."""
        if not self.fsdp:
            super().save_model(output_dir, _internal_call)
            return
        state = full_state(self.model)
        if self.args.should_save:
            self._save(output_dir, state_dict=state)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """As TRL's; the watchdog waits longer meanwhile."""
        self.watchdog.rest()
        return super().evaluate(*args, **kwargs)

    def prediction_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As TRL's; its loss is added up by the tokens that it is a mean of."""
        learned = (inputs["labels"][..., 1:] != IGNORED).sum().to(self.args.device)
        found = super().prediction_step(model, inputs, *args, **kwargs)
        self.evaluated += torch.stack([found[0].double() * learned, learned.double()])
        return found

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """As TRL's, with a loss that is a mean over tokens, however they are batched: transformers' is a mean over batches."""
        self.evaluated = torch.zeros(2, dtype=torch.float64, device=self.args.device)
        found = super().evaluation_loop(*args, **kwargs)
        if ranks() > 1:
            torch.distributed.all_reduce(self.evaluated)
        found.metrics["eval_loss"] = float(self.evaluated[0] / self.evaluated[1])
        return found


class Pace(TrainerCallback):
    """At the end of each step: the position moves on, ranks agree on whether to save or stop, a failed save is heard of."""

    def __init__(self, trainer: SealedTrainer):
        self.trainer = trainer
        self.saved_at = time.monotonic()
        self.save_later = False
        self.put_off = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.saved_at = time.monotonic()
        self.trainer.watchdog.rest()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        trainer = self.trainer
        trainer.watchdog.step()
        trainer.saver.check()
        ended = trainer.order.advance() or state.global_step >= state.max_steps
        state.epoch = trainer.order.epoch + trainer.order.start / trainer.order.rows
        due = trainer.checkpoint_seconds is not None and time.monotonic() - self.saved_at >= trainer.checkpoint_seconds
        apart = trainer.checkpoint_apart
        early = apart is not None and (time.monotonic() - self.saved_at < apart or trainer.saver.busy)
        stop, due, early = self._agree(trainer.stop_asked, due, early)
        trainer.stop_asked = stop
        wanted = control.should_save or self.put_off
        self.put_off = wanted and early
        control.should_save = (wanted and not early) or due
        if self._stops(state):
            control.should_save = control.should_training_stop = True
        if control.should_save:
            self.saved_at = time.monotonic()
            # An epoch, and the run, ends with a validation; a checkpoint from before it would lose its result.
            self.save_later, control.should_save = ended, not ended

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.watchdog.rest()  # a validation may take as long as it goes on

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._stops(state):  # there is no time for a validation; an epoch cut short has none anyway
            self.trainer.validation_due = control.should_evaluate and self.save_later
            control.should_evaluate = False
        control.should_save = control.should_save or self.save_later
        self.save_later = False

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.watchdog.cancel()

    def _stops(self, state: Any) -> bool:
        return self.trainer.stop_asked and bool(state.global_step < state.max_steps)

    def _agree(self, *wishes: bool) -> tuple[bool, ...]:
        """What any rank wishes, all do: a rank that saved alone would wait for the others for ever."""
        if ranks() == 1:
            return wishes
        asked = torch.tensor(wishes, dtype=torch.int32, device=self.trainer.args.device)
        torch.distributed.all_reduce(asked, op=torch.distributed.ReduceOp.MAX)
        return tuple(bool(wish) for wish in asked.tolist())


__all__ = ["Collator", "SealedTrainer"]
