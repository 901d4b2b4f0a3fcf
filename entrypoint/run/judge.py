"""Judges a run by its validations: which checkpoint is the best, and when no better one comes."""

import difflib
import math
from typing import Any

from transformers import TrainerCallback

from entrypoint.run.events import Events, say
from entrypoint.run.ranks import is_first
from schemas.errors import UsageError
from schemas.job import ValidationJob

LOW = ("loss", "entropy")
"""Metrics that are better low, by the end of their name."""


class Judge(TrainerCallback):  # type: ignore[misc]
    """Looks at the metrics of each validation, which are the same on every rank; its counts are in every checkpoint."""

    def __init__(self, job: ValidationJob, events: Events):
        self.job, self.events = job, events
        self.best: float | None = None
        self.best_step: int | None = None
        self.not_better = 0
        self.ended = False

    @property
    def spare(self) -> int | None:
        """Step of the checkpoint that must stay."""
        return self.best_step if self.job.best else None

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float] | None = None, **kwargs: Any) -> None:
        if not (self.job.best or self.job.patience):
            return
        better = self._is_better(self._value(metrics or {}))
        if better:
            self.best_step, self.not_better = state.global_step, 0
        else:
            self.not_better += 1
        if better and self.job.best:
            control.should_save = True
        if self.job.patience and self.not_better >= self.job.patience and state.global_step < state.max_steps:
            self.ended = control.should_training_stop = control.should_save = True
            self._say(state.global_step)

    def counts(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"best": self.best, "best_step": self.best_step, "not_better": self.not_better, "ended": self.ended}

    def set_counts(self, counts: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.best, self.best_step, self.not_better, self.ended = (counts[name] for name in ("best", "best_step", "not_better", "ended"))

    def _value(self, metrics: dict[str, float]) -> float:
        found = {name.removeprefix("eval_"): value for name, value in metrics.items()}
        if self.job.metric not in found:
            known = sorted(name for name in found if name not in ("runtime", "samples_per_second", "steps_per_second"))
            near = difflib.get_close_matches(self.job.metric, known, 3, 0.4) or known
            raise UsageError(f"train.validation.metric: a validation of this method gives no {self.job.metric}", f"it gives {', '.join(near)}")
        return float(found[self.job.metric])

    def _is_better(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        gain = math.inf if self.best is None else (self.best - value if self.job.metric.endswith(LOW) else value - self.best)
        if gain <= 0 or gain < self.job.min_delta:
            return False
        self.best = value
        return True

    def _say(self, step: int) -> None:
        if is_first():
            say(f"  training ends: {self.not_better} validations without a better {self.job.metric}; the best was at step {self.best_step}")
            self.events.write("stopped_early", step=step, metric=self.job.metric, best=self.best, best_step=self.best_step)
