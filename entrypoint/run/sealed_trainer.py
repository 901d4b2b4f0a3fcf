"""Any of TRL's trainers with checkpoints that are sealed behind its back, a resume that is exact, and a stop that all ranks agree on."""

import math
import signal
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from transformers import PrinterCallback

from entrypoint.run import randomness
from entrypoint.run.bad_steps import BadSteps
from entrypoint.run.engine_state import base_optimizer, fragments, restore
from entrypoint.run.fragments import FragmentReader
from entrypoint.run.fsdp import full_state, shard
from entrypoint.run.gather_rows import GatherRows
from entrypoint.run.judge import Judge
from entrypoint.run.mapped_files import MappedFiles
from entrypoint.run.offload_files import move_to_files
from entrypoint.run.optimised import Optimised
from entrypoint.run.pace import Pace
from entrypoint.run.plugged import Plugged
from entrypoint.run.principal import Principal
from entrypoint.run.progress import Progress
from entrypoint.run.raised import ENOUGH, rows_that_fit
from entrypoint.run.ranks import rank, ranks
from entrypoint.run.replayed import Replayed
from entrypoint.run.resume import Resume
from entrypoint.run.row_order import InOrder, RowOrder
from entrypoint.run.saver import Saver
from entrypoint.run.watchdog import Watchdog
from entrypoint.run.weighed import Weighed
from schemas.expected import Raising
from schemas.manifest import Manifest


def sealed(trainer: type, *layers: type) -> Any:
    """A trainer class of TRL's, or one over it, with what Caisson promises of every run; `layers` of plug-ins stand between the two."""
    return type(f"Sealed{trainer.__name__}", (SealedTrainer, *layers, trainer), {})


class SealedTrainer(Optimised, Weighed, Replayed):
    """Stands before a trainer of TRL's: `sealed`. Set `order`, `dealt`, `progress`, `saver`, `watchdog`, `bad_steps`, `judge`, `checkpoint_manifest`, what Optimised
    and Replayed want and, to go on from a checkpoint, `resumed` before `train`."""

    order: RowOrder
    dealt: Any
    """What the numbers of `order` stand for: rows, or packs of them."""

    validated: Any = None
    """The same for validation; None without one."""

    progress: Progress
    saver: Saver
    watchdog: Watchdog
    bad_steps: BadSteps
    judge: Judge
    plugged: Plugged | None = None
    """A user's callback."""

    principal: Principal | None = None
    """Of an adapter that starts as a part of the weights."""

    files: MappedFiles | None = None
    """Where optimizer and weights lie under `hardware.offload: nvme`."""

    checkpoint_manifest: Manifest
    segments: list[dict[str, Any]]
    """How each stretch of the run was trained, oldest first; the last one is how it is trained now."""

    checkpoint_seconds: float | None = None
    """Save when this much time has passed since the last; None: by steps alone."""

    checkpoint_apart: float | None = None
    """Seconds between two saves at least; one that is due by steps is put off until then, and until the one before has ended. None: it is not."""

    raising: Raising | None = None
    """How far rows at once may be raised; None: they may not, or it has been decided."""

    resumed: Resume | None = None
    saved: tuple[int, int] = (-1, 0)
    """Step and length of the history at the last save."""

    started_at = 0
    """Optimizer steps that were taken before this process began."""

    validation_due = False
    """A stop came where one was due: it is made up for before the next step."""

    def __init__(self, *args: Any, fsdp: dict[str, Any] | None = None, **kwargs: Any):
        self.fsdp = fsdp
        super().__init__(*args, **kwargs)
        self.remove_callback(PrinterCallback)
        self.add_callback(Pace(self))
        if ranks() > 1:
            self.accelerator.gather = GatherRows(self.accelerator.gather)
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
        if self.principal is not None:
            self.principal.begin(self.model, self.args.device, self.resumed.reader if self.resumed is not None else None)
        if self.fsdp:
            shard(self.model, self.fsdp, self.args.device)
        prepared = super()._prepare_for_training(*args)
        if self.files is not None:
            move_to_files(self.accelerator.unwrap_model(self.model_wrapped), self._stepping(), self.files)
        if self.resumed is not None:
            restore(self.accelerator.unwrap_model(self.model_wrapped), self._stepping(), rank(), ranks(), self.resumed.reader)
            self.resumed.set_schedule(self, base_optimizer(self._stepping()))
        return prepared

    def _run_epoch(self, **given: Any) -> None:
        if self.validation_due:
            self.validation_due = False
            self._evaluate(trial=None, ignore_keys_for_eval=None)
        # Killed behind the last checkpoint, before the weights were written; or a validation has ended it.
        if self.state.global_step >= self.state.max_steps or self.judge.ended:
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
        # At the end of an epoch a checkpoint can be due twice: for its validation, and as the epoch's last.
        moment = (self.state.global_step, len(self.state.log_history))
        if moment == self.saved:
            return
        self.saved = moment
        self._raise_rows()
        with self.progress.pause("save"):
            self._begin_save()

    def _raise_rows(self) -> None:
        """At the first save of a run that was never interrupted: more rows at once, if memory has room. The checkpoint holds it, so that what goes on from it does as this does."""
        step, raising = self.state.global_step, self.raising
        if raising is None or self.started_at or self.rows_at_once or step < ENOUGH or step >= self.state.max_steps or self.progress.work is None:
            return
        self.raising, lengths = None, self.progress.work.lengths
        peak, held = self.progress.memory.peak(), torch.cuda.memory_allocated() if torch.cuda.is_available() else 0
        rows = rows_that_fit(raising, peak, held, self.seen, int(lengths.max())) if lengths is not None else None
        if rows:
            self.rows_at_once = rows
            self.progress.raised(step, self.order.micro_batch, rows, peak, raising.room_bytes)

    def _begin_save(self) -> None:
        self.saver.wait()
        self.accelerator.wait_for_everyone()
        pieces = fragments(self.accelerator.unwrap_model(self.model_wrapped), self._stepping(), rank(), ranks())
        tensors, notes = randomness.capture(rank())
        if self.principal is not None and rank() == 0:
            tensors = [*tensors, *self.principal.fragments()]
        self.saver.spare = self.judge.spare
        state = Resume.state_of(self) if rank() == 0 else None
        self.saver.save(self.state.global_step, [*pieces, *tensors], notes, state, self.checkpoint_manifest)

    def seal_here(self) -> None:
        """Seal a checkpoint of the last step, if any was taken and it has none; one process alone, between two steps."""
        if self.state.global_step > self.started_at:
            self._save_checkpoint(self.model, None)
            self.saver.wait()

    def take(self, checkpoint: Path) -> None:
        """Weights of another step of this run."""
        restore(self.accelerator.unwrap_model(self.model_wrapped), self._stepping(), rank(), ranks(), FragmentReader(checkpoint))

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
        with self.progress.pause("validation"):
            return super().evaluate(*args, **kwargs)


__all__ = ["SealedTrainer", "sealed"]
