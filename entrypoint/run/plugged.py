"""Plug-ins of a training in their places: around the trainer's class, in its arguments, and behind its own callbacks."""

import json
from typing import Any

import torch
from transformers import TrainerCallback

from entrypoint.run.plugin_code import PluginCode
from entrypoint.run.ranks import ranks
from schemas.contract import EVENTS, HOOKS

MODEL_INPUTS = ("input_ids", "attention_mask", "position_ids", "cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k")


def layers_over(trainer: type, code: PluginCode) -> tuple[type, ...]:
    """Classes that stand between Caisson's trainer and the method's own."""
    found: list[type] = [Metered] if code.get("metric") else []
    if made := code.get("trainer"):
        for name in vars(made):
            if name not in HOOKS and not name.startswith("__") and hasattr(trainer, name):
                code.wrong("trainer", f"defines {name}, which the trainer has already", "give it another name")
        found.append(type(made.__name__, (made,), code.options("trainer")))
    return tuple(found)


def trainer_arguments(code: PluginCode) -> dict[str, Any]:
    """What a trainer is made with beside the rest."""
    loss = code.get("loss")
    if loss is None:
        return {}
    options = code.options("loss")

    def compute(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        found = loss(outputs, labels, num_items_in_batch, **options)
        if not isinstance(found, torch.Tensor) or found.dim():
            code.wrong("loss", f"returned {_described(found)}", "return a tensor with one number, which gradients reach")
        return found

    return {"compute_loss_func": compute}


def plug_in(trainer: Any, code: PluginCode) -> None:
    """What is set once the trainer is there; before checkpoints are looked for."""
    if metric := code.get("metric"):
        options = code.options("metric")
        trainer.code, trainer.metric = code, lambda outputs, labels: metric(outputs, labels, **options)
    if optimizer := code.get("optimizer"):
        trainer.made_by = lambda groups, rate: _optimizer(code, optimizer(groups, rate, **code.options("optimizer")))
    if (made := code.get("trainer")) and (clash := next((name for name in vars(made) if name in vars(trainer)), None)):
        code.wrong("trainer", f"has an attribute {clash}, which this method's trainer sets", "give it another name")
    if callback := code.get("callback"):
        trainer.plugged = Plugged(callback(**code.options("callback")), code)
        trainer.add_callback(trainer.plugged)


def _optimizer(code: PluginCode, found: Any) -> Any:
    if not isinstance(found, torch.optim.Optimizer):
        code.wrong("optimizer", f"returned {_described(found)}", "return a torch.optim.Optimizer over the groups that it was given")
    return found


class Plugged(TrainerCallback):  # type: ignore[misc]
    """A user's callback at the events that it has methods for. Checkpoints are none of its business: `should_save` stays as it was."""

    def __init__(self, made: Any, code: PluginCode):
        self.made, self.code = made, code
        for event in EVENTS:
            if hasattr(made, event):
                setattr(self, event, self._calls(getattr(made, event)))

    @staticmethod
    def _calls(method: Any) -> Any:
        def call(args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            before = control.should_save
            method(args, state, control, **kwargs)
            control.should_save = before

        return call

    def counts(self) -> dict[str, Any] | None:
        """For a checkpoint; None where it keeps nothing."""
        if not hasattr(self.made, "state_dict"):
            return None
        found = self.made.state_dict()
        try:
            kept: dict[str, Any] = json.loads(json.dumps(found))
        except (TypeError, ValueError):
            kept = {}
        if not isinstance(found, dict) or kept != found:
            self.code.wrong("callback", "has a state_dict that JSON does not hold", "return a dict of texts, numbers, lists and dicts, with texts as keys")
        return kept

    def set_counts(self, counts: dict[str, Any] | None) -> None:
        """From a checkpoint."""
        if counts is not None and hasattr(self.made, "load_state_dict"):
            self.made.load_state_dict(counts)


class Metered:
    """For a trainer: a user's metric over each validation, as a mean over all its values whatever the batches and the number of processes."""

    code: PluginCode
    metric: Any

    def prediction_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As the trainer's. The outputs take a pass of their own: TRL's loss makes no logits."""
        given = self._prepare_inputs({name: inputs[name] for name in (*MODEL_INPUTS, "labels") if name in inputs})  # type: ignore[attr-defined]
        found = super().prediction_step(model, inputs, *args, **kwargs)  # type: ignore[misc]
        labels = given.pop("labels")
        with torch.no_grad(), self.compute_loss_context_manager():  # type: ignore[attr-defined]
            values = self.metric(model(**given, use_cache=False), labels)
        if not isinstance(values, dict) or not all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in values.items()):
            self.code.wrong("metric", f"returned {_described(values)}", "return a dict of tensors by name; the mean of their entries is logged")
        for name, value in values.items():
            total, count = self.metered.get(name, (0.0, 0))
            self.metered[name] = (total + float(value.double().sum()), count + value.numel())
        return found

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """As the trainer's, with the metric beside its own."""
        self.metered: dict[str, tuple[float, int]] = {}
        found = super().evaluation_loop(*args, **kwargs)  # type: ignore[misc]
        every: list[Any] = [self.metered]
        if ranks() > 1:
            every = [None] * ranks()
            torch.distributed.all_gather_object(every, self.metered)
        for name in sorted({name for one in every for name in one}):
            sums = [one[name] for one in every if name in one]
            count = sum(count for _, count in sums)
            if f"eval_{name}" in found.metrics:
                self.code.wrong("metric", f"gives {name}, which a validation has already", "give it another name")
            if count:
                found.metrics[f"eval_{name}"] = sum(total for total, _ in sums) / count
        return found


def _described(value: Any) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
