"""TRL's trainer with sealed checkpoints, a clean stop on SIGTERM, and progress that says when it will be done."""

import math
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, disable_progress_bars
from datasets.table import InMemoryTable
from transformers import PrinterCallback, TrainerCallback
from trl import SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from entrypoint import __version__
from entrypoint.run.checkpoints import remove_old, seal_checkpoint
from entrypoint.run.events import Events, say
from entrypoint.run.ranks import is_first
from entrypoint.run.shards import read_shards
from schemas.errors import GateRefused

Collator = DataCollatorForLanguageModeling
"""Pads ids with the pad token and labels with -100: where pad and end token are one, the mask still tells them apart."""

SAY_EVERY_SECONDS = 5.0


def token_rows(folder: Path, split: str) -> Dataset | None:
    """Rows of prepared shards as a dataset with `input_ids` and `labels`, int64 of shape (tokens,), -100 where no loss is taken.

    None for a split without rows. The arrays go into Arrow as they are: no row is copied one by one.
    """
    disable_progress_bars()
    tables = []
    for shard in read_shards(folder, split):
        ids = shard["ids"].astype(np.int64)
        labels = np.where(shard["supervised"] == 1, ids, -100)
        starts = pa.array(shard["starts"].astype(np.int32))
        columns = {name: pa.ListArray.from_arrays(starts, pa.array(values)) for name, values in (("input_ids", ids), ("labels", labels))}
        tables.append(pa.table(columns))
    return Dataset(InMemoryTable(pa.concat_tables(tables))).with_format("numpy") if tables else None


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


class Progress(TrainerCallback):
    """Lines for people every few seconds, an event for each optimizer step; asks for a checkpoint when told to stop."""

    def __init__(self, trainer: SealedTrainer, events: Events):
        self.trainer, self.events = trainer, events
        self.start = self.said = self.stepped = 0.0
        self.first_step = 0
        self.tokens = self.first_tokens = self.first_end = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.start = self.stepped = time.monotonic()
        self.first_step = state.global_step

    def mean_rate(self) -> float:
        """Tokens a second over the steps of this process, after the first, which warms up."""
        return (self.tokens - self.first_tokens) / max(1e-9, self.stepped - self.first_end) if self.first_end else 0.0

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
        if not math.isfinite(logs["loss"]):
            raise GateRefused(
                f"the loss is {logs['loss']} at step {state.global_step}", "lower train.learning_rate, or check the base model's weights; nothing was sealed"
            )
        tokens = logs.get("num_tokens", self.tokens)
        rate = (tokens - self.tokens) / max(1e-9, now - self.stepped)
        done = state.global_step - self.first_step
        left = (now - self.start) / max(1, done) * (state.max_steps - state.global_step)
        self.events.write(
            "step", step=state.global_step, of=state.max_steps, loss=logs["loss"], learning_rate=logs.get("learning_rate"), grad_norm=logs.get("grad_norm"), tokens=tokens, tokens_per_second=round(rate, 1), seconds_left=round(left)
        )  # fmt: skip
        self.tokens, self.stepped = tokens, now
        if not self.first_end:
            self.first_tokens, self.first_end = tokens, now
        if now - self.said >= SAY_EVERY_SECONDS or state.global_step == state.max_steps:
            self.said = now
            say(f"  step {state.global_step}/{state.max_steps}  loss {logs['loss']:.4f}  {rate:,.0f} tok/s  {_minutes(left)} left")


def _minutes(seconds: float) -> str:
    if seconds >= 3600:
        return f"{int(seconds) // 3600} h {int(seconds) % 3600 // 60:02d} min"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


__all__ = ["Collator", "Progress", "SealedTrainer", "token_rows"]
