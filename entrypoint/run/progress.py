"""What a run says while it trains: lines for people every few seconds, an event for each optimizer step."""

import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import TrainerCallback

from entrypoint.run.events import Events, say
from entrypoint.run.held_memory import HeldMemory
from entrypoint.run.ranks import is_first, ranks
from entrypoint.run.step_clock import StepClock
from entrypoint.run.step_work import StepWork
from schemas.expected import Predicted

SAY_EVERY_SECONDS = 5.0

COMPARED_AT = 5
"""Steps of this process after which memory and time are first compared with the plan: by then the optimizer has its state, and some steps are past."""

LOOK_EVERY_SECONDS = 30.0
"""At what children hold."""

TOLD = {"loss", "learning_rate", "grad_norm", "num_tokens", "epoch", "skipped", "runtime", "samples_per_second", "steps_per_second", "model_preparation_time"}
"""Numbers of a step or a validation that have a field of their own in an event, or say nothing of the model."""

SHOWN = {"rewards/margins": "margin", "margin": "margin", "rewards/accuracies": "accuracy", "accuracy": "accuracy", "kl": "kl"}
"""What a line for people has beside the loss, where the method knows it."""


class Progress(TrainerCallback):  # type: ignore[misc]
    """Of the first rank; the others only say what memory they hold."""

    work: StepWork | None = None
    """Of the steps; None: all alike."""

    validation_work = 0.0
    """Of one validation, in the same unit; 0: there is none, or nobody has counted."""

    def __init__(self, events: Events, predicted: Predicted | None = None):
        self.events, self.predicted = events, predicted or Predicted()
        self.said = self.looked = 0.0
        self.first_step = 0
        self.tokens = self.first_tokens = 0.0
        self.clock, self.memory = StepClock(), HeldMemory(os.getpid())
        self.processor = StepClock(time.process_time)
        """Of this process's CPU time: on a CPU what a step would take if nothing else ran."""

        self.seconds = self.cpu_seconds = 0.0
        """Of the last step."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.first_step = state.global_step
        self.clock.begin()
        self.processor.begin()

    @contextmanager
    def pause(self, kind: str) -> Iterator[None]:
        """Around a save or a validation, which belong to no step."""
        with self.clock.pause(kind), self.processor.pause(kind):
            yield

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.under_way = self.work.of_step() if self.work else 1.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.seconds, self.cpu_seconds = self.clock.step(self.under_way), self.processor.step(self.under_way)
        now = time.monotonic()
        if now - self.looked >= LOOK_EVERY_SECONDS or len(self.clock.done) == COMPARED_AT:
            self.looked = now
            self.memory.look()
        if len(self.clock.done) == COMPARED_AT and state.global_step < state.max_steps:
            self._compare(args, state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.clock.done:
            self._compare(args, state.global_step)

    def _compare(self, args: Any, step: int) -> None:
        """Say what the plan expected beside what was measured; all ranks come here at the same step."""
        self.peak = self.memory.peak()
        if ranks() > 1:
            held = torch.tensor(self.peak, dtype=torch.int64, device=args.device)
            torch.distributed.all_reduce(held, op=torch.distributed.ReduceOp.MAX)
            self.peak = int(held)
        if not is_first():
            return
        seconds, planned = self.clock.median() or 0.0, self.predicted
        gib = None if planned.memory_bytes is None else planned.memory_bytes / 2**30
        self.events.write(
            "measured", step=step, memory_gib=round(self.peak / 2**30, 3), planned_memory_gib=None if gib is None else round(gib, 3),
            step_seconds=round(seconds, 4), planned_step_seconds=planned.step_seconds, steps=len(self.clock.done),
        )  # fmt: skip
        say(
            f"  memory {self.peak / 2**30:.1f} {f'of {gib:.1f} GiB planned' if gib is not None else 'GiB'}, "
            f"step {brief(seconds)}{f' of {brief(planned.step_seconds)} planned' if planned.step_seconds else ''}"
        )

    def mean_rate(self) -> float:
        """Tokens a second over the steps of this process, after the first, which warms up."""
        seconds = sum(one for one, _ in self.clock.done[1:])
        return (self.tokens - self.first_tokens) / seconds if seconds and self.first_tokens else 0.0

    def sealed(self, step: int, stalled: float, seconds: float) -> None:
        """A checkpoint is safe; called from the thread that wrote it."""
        self.events.write("checkpoint", step=step, stalled_seconds=round(stalled, 4), seconds=round(seconds, 3))

    def lowered(self, step: int, before: int, now: int) -> None:
        """Memory ran out; the step is repeated."""
        self.events.write("lowered", step=step, rows_at_once=now, before=before, memory_gib=peak_gib())
        say(f"  step {step}: the memory ran out with {before} rows at once; it is repeated with {now}, and so are all after it: same rows, same loss")

    def raised(self, step: int, before: int, now: int, peak: int, room: int) -> None:
        """Memory has room for more rows at once. `peak`, `room`: bytes."""
        self.events.write("raised", step=step, rows_at_once=now, before=before, memory_gib=round(peak / 2**30, 3), room_gib=round(room / 2**30, 3))
        say(f"  step {step}: {peak / 2**30:.1f} of {room / 2**30:.1f} GiB taken with {before} rows at once; {now} from here on: same rows a step, same loss")

    def seconds_left(self, args: Any, state: Any) -> float:
        """To the end of the last step, with the validations until then."""
        steps = max(0, state.max_steps - state.global_step)
        work = self.work.left(steps) if self.work else float(steps)
        return self.clock.seconds_left(steps, work, validations_left(args, state), self.validation_work)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        if not is_first() or not logs:
            return
        if "eval_loss" in logs:
            found = {name.removeprefix("eval_"): value for name, value in logs.items()}
            self.events.write("validated", step=state.global_step, loss=round(logs["eval_loss"], 6), metrics=metrics_of(found))
            say(f"  step {state.global_step}/{state.max_steps}  validation loss {logs['eval_loss']:.4f}{_shown(found)}")
            return
        if "loss" not in logs:
            return
        tokens = logs.get("num_tokens", self.tokens)
        rate = (tokens - self.tokens) / max(1e-9, self.seconds)
        left = self.seconds_left(args, state)
        norm = logs.get("grad_norm")
        self.events.write(
            "step", step=state.global_step, of=state.max_steps, loss=finite(logs["loss"]), learning_rate=logs.get("learning_rate"), grad_norm=finite(norm),
            tokens=tokens, tokens_per_second=round(rate, 1), memory_gib=peak_gib(), seconds=round(self.seconds, 4),
            cpu_seconds=round(self.cpu_seconds, 4), work=self.under_way, seconds_left=round(left, 1),
            metrics=metrics_of(logs),
        )  # fmt: skip
        self.tokens = tokens
        self.first_tokens = self.first_tokens or tokens
        now = time.monotonic()
        if now - self.said >= SAY_EVERY_SECONDS or state.global_step == state.max_steps:
            self.said = now
            say(f"  step {state.global_step}/{state.max_steps}  loss {logs['loss']:.4f}{_shown(logs)}  {rate:,.0f} tok/s  {_minutes(left)} left")


def validations_left(args: Any, state: Any) -> int:
    """Validations that are still to come, as transformers takes them."""
    if args.eval_strategy == "steps":
        every = int(args.eval_steps)
        done: int = state.global_step // every
        return int(state.max_steps) // every - done
    if args.eval_strategy == "epoch":
        ended = int(state.epoch or 0)
        return max(0, int(state.num_train_epochs) - ended)
    return 0


def brief(seconds: float) -> str:
    """Of a step."""
    return f"{seconds * 1000:.0f} ms" if seconds < 0.1 else f"{seconds:.2f} s" if seconds < 100 else f"{seconds:.0f} s"


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

    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return round(float(peak) / 2**30, 3)


def _minutes(seconds: float) -> str:
    if seconds >= 3600:
        return f"{int(seconds) // 3600} h {int(seconds) % 3600 // 60:02d} min"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
