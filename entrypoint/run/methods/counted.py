"""What TRL's experimental trainers lack beside the others: the count of tokens, and a way out of a bad step."""

from typing import Any

from transformers import Trainer


class CountsTokens(Trainer):
    """Stands before such a trainer."""

    _total_train_tokens = 0

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As theirs, with the tokens of the batch counted over all ranks."""
        if self.model.training:
            mine = sum(mask.sum() for name, mask in inputs.items() if name.endswith("attention_mask"))
            self._total_train_tokens += int(self.accelerator.gather(mine).sum())
        return super().compute_loss(model, inputs, *args, **kwargs)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As theirs, with the tokens. They tell a step by its loss: of a bad one, which has none, the numbers are dropped."""
        if "grad_norm" in logs:
            logs["num_tokens"] = float(self._total_train_tokens)
        stored = getattr(self, "_stored_metrics", {})
        if "skipped" in logs and "loss" not in logs:
            stored.pop("train", None)
        super().log(logs, start_time)
