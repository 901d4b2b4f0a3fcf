"""At the end of each step: the position moves on, ranks agree on whether to save or stop, a failed save is heard of."""

import time
from typing import Any

import torch
from transformers import TrainerCallback

from entrypoint.run.ranks import ranks


class Pace(TrainerCallback):  # type: ignore[misc]
    """At the end of each step: the position moves on, ranks agree on whether to save or stop, a failed save is heard of."""

    def __init__(self, trainer: Any):
        self.trainer = trainer
        self.saved_at = time.monotonic()
        self.save_later = False
        self.put_off = False
        self.stopping = False

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
        self.stopping = bool(stop and state.global_step < state.max_steps)
        if self.stopping:  # a validation that is due by steps is made up for before the next
            trainer.validation_due, control.should_evaluate = trainer.validation_due or control.should_evaluate, False
            control.should_save = control.should_training_stop = True
        if control.should_save:
            self.saved_at = time.monotonic()
            # An epoch, and the run, ends with a validation; a checkpoint from before it would lose its result.
            self.save_later, control.should_save = ended, not ended

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.watchdog.rest()  # a validation may take as long as it goes on

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # What the last step decided, for all ranks alike: a signal that came since is heard at the next, and must not lose this epoch's validation.
        if self.stopping:  # there is no time for a validation; an epoch cut short has none anyway
            self.trainer.validation_due = self.trainer.validation_due or (control.should_evaluate and self.save_later)
            control.should_evaluate = False
        control.should_save = control.should_save or self.save_later
        self.save_later = False

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.watchdog.cancel()

    def _agree(self, *wishes: bool) -> tuple[bool, ...]:
        """What any rank wishes, all do: a rank that saved alone would wait for the others for ever."""
        if ranks() == 1:
            return wishes
        asked = torch.tensor(wishes, dtype=torch.int32, device=self.trainer.args.device)
        torch.distributed.all_reduce(asked, op=torch.distributed.ReduceOp.MAX)
        return tuple(bool(wish) for wish in asked.tolist())
