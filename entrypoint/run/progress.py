"""What a run says while it trains: lines for people every few seconds, an event for each optimizer step."""

import math
import time
from typing import Any

from transformers import TrainerCallback

from entrypoint.run.events import Events, say
from entrypoint.run.ranks import is_first

SAY_EVERY_SECONDS = 5.0

TOLD = {"loss", "learning_rate", "grad_norm", "num_tokens", "epoch", "skipped", "runtime", "samples_per_second", "steps_per_second", "model_preparation_time"}
"""Numbers of a step or a validation that have a field of their own in an event, or say nothing of the model."""

SHOWN = {"rewards/margins": "margin", "margin": "margin", "rewards/accuracies": "accuracy", "accuracy": "accuracy", "kl": "kl"}
"""What a line for people has beside the loss, where the method knows it."""


class Progress(TrainerCallback):  # type: ignore[misc]
    """Of the first rank; the others are silent."""

    def __init__(self, events: Events):
        self.events = events
        self.start = self.said = self.stepped = 0.0
        self.first_step = 0
        self.tokens = self.first_tokens = self.first_end = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.start = self.stepped = time.monotonic()
        self.first_step = state.global_step

    def mean_rate(self) -> float:
        """Tokens a second over the steps of this process, after the first, which warms up."""
        return (self.tokens - self.first_tokens) / max(1e-9, self.stepped - self.first_end) if self.first_end else 0.0

    def sealed(self, step: int, stalled: float, seconds: float) -> None:
        """A checkpoint is safe; called from the thread that wrote it."""
        self.events.write("checkpoint", step=step, stalled_seconds=round(stalled, 4), seconds=round(seconds, 3))

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        if not is_first() or not logs:
            return
        now = time.monotonic()
        if "eval_loss" in logs:
            found = {name.removeprefix("eval_"): value for name, value in logs.items()}
            self.events.write("validated", step=state.global_step, loss=round(logs["eval_loss"], 6), metrics=metrics_of(found))
            say(f"  step {state.global_step}/{state.max_steps}  validation loss {logs['eval_loss']:.4f}{_shown(found)}")
            return
        if "loss" not in logs:
            return
        tokens = logs.get("num_tokens", self.tokens)
        rate = (tokens - self.tokens) / max(1e-9, now - self.stepped)
        done = state.global_step - self.first_step
        left = (now - self.start) / max(1, done) * (state.max_steps - state.global_step)
        norm = logs.get("grad_norm")
        self.events.write(
            "step", step=state.global_step, of=state.max_steps, loss=finite(logs["loss"]), learning_rate=logs.get("learning_rate"), grad_norm=finite(norm),
            tokens=tokens, tokens_per_second=round(rate, 1), memory_gib=peak_gib(), seconds_left=round(left), metrics=metrics_of(logs),
        )  # fmt: skip
        self.tokens, self.stepped = tokens, now
        if not self.first_end:
            self.first_tokens, self.first_end = tokens, now
        if now - self.said >= SAY_EVERY_SECONDS or state.global_step == state.max_steps:
            self.said = now
            say(f"  step {state.global_step}/{state.max_steps}  loss {logs['loss']:.4f}{_shown(logs)}  {rate:,.0f} tok/s  {_minutes(left)} left")


def metrics_of(logs: dict[str, float]) -> dict[str, float | None]:
    """What a method says of a step or a validation beside its loss: reward margins and accuracies, log-probabilities and the like."""
    return {name: finite(value) for name, value in logs.items() if name not in TOLD}


def _shown(logs: dict[str, float]) -> str:
    return "".join(f"  {word} {logs[name]:.3f}" for name, word in SHOWN.items() if name in logs)


def finite(value: float | None) -> float | None:
    """A number that JSON has; None for the others."""
    return value if value is not None and math.isfinite(value) else None


def peak_gib() -> float:
    """Peak of this process so far, GiB: on the GPU where it trains on one."""
    import resource

    import torch

    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return round(peak / 2**30, 3)


def _minutes(seconds: float) -> str:
    if seconds >= 3600:
        return f"{int(seconds) // 3600} h {int(seconds) % 3600 // 60:02d} min"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
