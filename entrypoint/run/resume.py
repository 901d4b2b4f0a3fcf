"""A checkpoint as a trainer reads and writes it: position, schedule and history beside the tensors."""

import json
from pathlib import Path
from typing import Any

from entrypoint.run.fragments import FragmentReader
from entrypoint.run.ranks import rank
from entrypoint.run.saver import STATE, rank_notes

SCALED = ("cur_scale", "cur_iter", "last_overflow_iter", "cur_hysteresis")
"""What DeepSpeed's loss scaler changes from step to step."""


class Resume:
    """A valid checkpoint, opened."""

    def __init__(self, folder: Path):
        self.name = folder.name
        self.reader = FragmentReader(folder)
        self.state: dict[str, Any] = json.loads((folder / STATE).read_text(encoding="utf-8"))
        self.notes: dict[str, Any] = json.loads((folder / rank_notes(rank())).read_text(encoding="utf-8"))

    @staticmethod
    def state_of(trainer: Any, base: Any) -> dict[str, Any]:
        """Everything of a trainer that is no tensor, as JSON holds it."""
        order = trainer.order
        scaler = trainer.accelerator.scaler
        deepspeed_scaler = getattr(trainer.optimizer.optimizer, "loss_scaler", None)
        return {
            "step": trainer.state.global_step,
            "epoch": order.epoch,
            "start": order.start,
            "history": trainer.state.log_history,
            "flos": trainer.state.total_flos,
            "tokens": trainer._total_train_tokens,
            "bad_steps": trainer.bad_steps.counts(),
            "schedule": trainer.lr_scheduler.state_dict(),
            "rates": [group["lr"] for group in base.param_groups],
            "scaler": scaler.state_dict() if scaler is not None else {},
            "deepspeed_scaler": {name: getattr(deepspeed_scaler, name) for name in SCALED if hasattr(deepspeed_scaler, name)},
        }

    def set_trainer_state(self, trainer: Any) -> None:
        """Position and history."""
        order, state = trainer.order, self.state
        order.epoch, order.start = state["epoch"], state["start"]
        trainer.state.global_step, trainer.state.log_history = state["step"], list(state["history"])
        trainer.state.epoch = order.epoch + order.start / order.rows
        trainer.state.total_flos = state["flos"]
        trainer._total_train_tokens = state["tokens"]
        trainer.bad_steps.set_counts(state["bad_steps"])

    def set_schedule(self, trainer: Any, base: Any) -> None:
        """Learning rates and loss scale, once optimizer and schedule exist."""
        trainer.lr_scheduler.load_state_dict(self.state["schedule"])
        for group, rate in zip(base.param_groups, self.state["rates"], strict=True):
            group["lr"] = rate
        if self.state["scaler"] and trainer.accelerator.scaler is not None:
            trainer.accelerator.scaler.load_state_dict(self.state["scaler"])
        for name, value in self.state["deepspeed_scaler"].items():
            setattr(trainer.optimizer.optimizer.loss_scaler, name, value)
