"""A checkpoint as a trainer reads and writes it: position, schedule and history beside the tensors."""

import json
from pathlib import Path
from typing import Any

from entrypoint.run import randomness
from entrypoint.run.checkpoints import STATE, rank_notes
from entrypoint.run.fragments import FragmentReader
from entrypoint.run.ranks import rank
from entrypoint.run.seal import read_manifest

SCALED = ("cur_scale", "cur_iter", "last_overflow_iter", "cur_hysteresis")
"""What DeepSpeed's loss scaler changes from step to step."""


class Resume:
    """A valid checkpoint, opened."""

    def __init__(self, folder: Path):
        self.name = folder.name
        sealed = read_manifest(folder)
        listed = {file.path for file in sealed.files} if sealed else set()
        self.reader = FragmentReader(folder)
        self.state: dict[str, Any] = json.loads((folder / STATE).read_text(encoding="utf-8"))
        notes = rank_notes(rank())
        self.notes: dict[str, Any] | None = json.loads((folder / notes).read_text(encoding="utf-8")) if notes in listed else None
        """None for a process more than the checkpoint was made by."""

    @staticmethod
    def state_of(trainer: Any) -> dict[str, Any]:
        """Everything of a trainer that is no tensor, as JSON holds it."""
        order = trainer.order
        scaler = trainer.accelerator.scaler
        deepspeed_scaler = getattr(trainer.optimizer.optimizer, "loss_scaler", None)
        return {
            "step": trainer.state.global_step,
            "epoch": order.epoch,
            "start": order.start,
            "rows_per_step": order.rows_per_step,
            "segments": trainer.segments,
            "history": trainer.state.log_history,
            "flos": trainer.state.total_flos,
            "tokens": trainer._total_train_tokens,
            "bad_steps": trainer.bad_steps.counts(),
            "judged": trainer.judge.counts(),
            "plugged": trainer.plugged.counts() if trainer.plugged else None,
            "validation_due": trainer.validation_due,
            "rows_at_once": [order.micro_batch, trainer.rows_at_once],
            "scheduled": _schedule(trainer).last_epoch,
            "scaler": scaler.state_dict() if scaler is not None else {},
            "deepspeed_scaler": {name: getattr(deepspeed_scaler, name) for name in SCALED if hasattr(deepspeed_scaler, name)},
        }

    def segments(self, now: dict[str, Any]) -> list[dict[str, Any]]:
        """How each stretch of the run was trained, with `now` as the last where it is trained otherwise from here on."""
        before: list[dict[str, Any]] = self.state["segments"]
        now = {**now, "after_step": self.state["step"]}
        return before if {**before[-1], "after_step": 0} == {**now, "after_step": 0} else [*before, now]

    def set_position(self, order: Any) -> None:
        """Where the next step begins."""
        order.move(self.state["epoch"], self.state["start"], self.state["step"])

    def set_trainer_state(self, trainer: Any) -> None:
        """Count and history."""
        order, state = trainer.order, self.state
        trainer.state.global_step, trainer.state.log_history = state["step"], list(state["history"])
        trainer.state.epoch = order.epoch + order.start / order.rows
        trainer.state.total_flos = state["flos"]
        trainer._total_train_tokens = state["tokens"]
        trainer.bad_steps.set_counts(state["bad_steps"])
        trainer.judge.set_counts(state["judged"])
        if trainer.plugged:
            trainer.plugged.set_counts(state.get("plugged"))
        trainer.validation_due = state.get("validation_due", False)
        planned, at_once = state.get("rows_at_once", (0, None))
        if planned == order.micro_batch:  # else another plan, on another machine as a rule
            trainer.rows_at_once = at_once

    def set_schedule(self, trainer: Any, base: Any) -> None:
        """Learning rates and loss scale, once optimizer and schedule exist."""
        schedule, at = _schedule(trainer), self.state["scheduled"]
        schedule.last_epoch, schedule._step_count = at, at + 1
        # Computed, not kept: engines make other groups of the parameters, and another batch makes other steps of the same epochs.
        for group, peak, share in zip(base.param_groups, schedule.base_lrs, schedule.lr_lambdas, strict=True):
            group["lr"] = peak * share(at)
        schedule._last_lr = [group["lr"] for group in base.param_groups]
        if self.state["scaler"] and trainer.accelerator.scaler is not None:
            trainer.accelerator.scaler.load_state_dict(self.state["scaler"])
        scaler = getattr(trainer.optimizer.optimizer, "loss_scaler", None)  # another engine may have gone before
        for name, value in self.state["deepspeed_scaler"].items():
            if hasattr(scaler, name):
                setattr(scaler, name, value)

    def set_random(self, seed: int) -> None:
        """Generators of this process."""
        if self.notes is None:
            randomness.start_anew(seed, self.state["step"], rank())
        else:
            randomness.restore(rank(), self.notes, self.reader)


def _schedule(trainer: Any) -> Any:
    """torch's LambdaLR, below accelerate's wrapper where there is one."""
    return getattr(trainer.lr_scheduler, "scheduler", trainer.lr_scheduler)
