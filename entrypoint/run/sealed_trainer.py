"""TRL's trainer with sealed checkpoints, a clean stop on SIGTERM, and progress that says when it will be done."""

import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PrinterCallback, Trainer, TrainerCallback
from trl import SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from entrypoint import __version__
from entrypoint.run.checkpoints import remove_old, seal_checkpoint
from entrypoint.run.events import Events, say
from entrypoint.run.ranks import is_first
from entrypoint.run.shards import read_shards

Collator = DataCollatorForLanguageModeling
"""Pads ids with the pad token and labels with -100: where pad and end token are one, the mask still tells them apart."""

SAY_EVERY_SECONDS = 5.0


class TokenRows(torch.utils.data.Dataset):
    """Rows of prepared shards: `input_ids` and `labels`, int64 of shape (tokens,), -100 where no loss is taken."""

    column_names = ("input_ids", "labels")

    def __init__(self, folder: Path, split: str):
        self.shards = read_shards(folder, split)
        self.ends = np.cumsum([len(s["starts"]) - 1 for s in self.shards], dtype=np.int64)

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        at = int(np.searchsorted(self.ends, index, side="right"))
        shard = self.shards[at]
        row = index - (int(self.ends[at - 1]) if at else 0)
        span = slice(int(shard["starts"][row]), int(shard["starts"][row + 1]))
        ids = shard["ids"][span].astype(np.int64)
        return {"input_ids": ids, "labels": np.where(shard["supervised"][span] == 1, ids, -100)}


class SealedTrainer(SFTTrainer):
    """Writes each checkpoint under another name, seals it, and only then lets older ones go."""

    keep = 2

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.remove_callback(PrinterCallback)
        self.stop_asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_to_stop)

    def _ask_to_stop(self, *_: object) -> None:
        self.stop_asked = True

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self.args.output_dir)
        written = folder / f"checkpoint-{self.state.global_step}"
        if is_first():
            shutil.rmtree(written, ignore_errors=True)  # of an attempt that was killed while it wrote
        self.accelerator.wait_for_everyone()
        # TRL's own version would add a model card to each checkpoint.
        super(SFTTrainer, self)._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if is_first():
            seal_checkpoint(written, self.state.global_step, __version__)
            remove_old(folder, self.keep)
        self.accelerator.wait_for_everyone()

    def release_trackers(self) -> None:
        """Close what trackers hold open, so that their files are whole before they are sealed."""
        for callback in self.callback_handler.callbacks:
            writer = getattr(callback, "tb_writer", None)
            if writer is not None:
                writer.close()


class Progress(TrainerCallback):
    """Lines for people every few seconds, an event for each optimizer step; asks for a checkpoint when told to stop."""

    def __init__(self, trainer: SealedTrainer, events: Events):
        self.trainer, self.events = trainer, events
        self.start = self.said = self.stepped = 0.0
        self.first_step = 0
        self.tokens = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.start = self.stepped = time.monotonic()
        self.first_step = state.global_step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.trainer.stop_asked and state.global_step < state.max_steps:
            control.should_save = control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        if not is_first() or not logs:
            return
        now = time.monotonic()
        if "eval_loss" in logs:
            self.events.write("validated", step=state.global_step, loss=round(logs["eval_loss"], 6))
            say(f"  step {state.global_step}/{state.max_steps}  validation loss {logs['eval_loss']:.4f}")
            return
        if "loss" not in logs:
            return
        tokens = logs.get("num_tokens", self.tokens)
        rate = (tokens - self.tokens) / max(1e-9, now - self.stepped)
        done = state.global_step - self.first_step
        left = (now - self.start) / max(1, done) * (state.max_steps - state.global_step)
        self.events.write(
            "step", step=state.global_step, of=state.max_steps, loss=logs["loss"], learning_rate=logs.get("learning_rate"), grad_norm=logs.get("grad_norm"), tokens=tokens, tokens_per_second=round(rate, 1), seconds_left=round(left)
        )  # fmt: skip
        self.tokens, self.stepped = tokens, now
        if now - self.said >= SAY_EVERY_SECONDS or state.global_step == state.max_steps:
            self.said = now
            say(f"  step {state.global_step}/{state.max_steps}  loss {logs['loss']:.4f}  {rate:,.0f} tok/s  {_minutes(left)} left")


def _minutes(seconds: float) -> str:
    if seconds >= 3600:
        return f"{int(seconds) // 3600} h {int(seconds) % 3600 // 60:02d} min"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


__all__ = ["Collator", "Progress", "SealedTrainer", "TokenRows", "Trainer"]
