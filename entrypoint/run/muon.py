"""Muon for the matrices of the layers and AdamW for all else, as one optimizer."""

from collections.abc import Callable
from typing import Any

import torch


class MuonWithAdamW(torch.optim.Optimizer):  # type: ignore[misc]
    """torch's Muon takes parameters of two dimensions alone. Both share groups and state with this one, so a schedule and a checkpoint see one optimizer.

    `matrices` and `others` are parameter groups. Muon's updates are scaled to AdamW's root mean square (Moonlight, arXiv 2502.16982): one learning
    rate does for both.
    """

    def __init__(self, matrices: list[dict[str, Any]], others: list[dict[str, Any]], lr: float, betas: tuple[float, float], eps: float):
        super().__init__([*matrices, *others], {"lr": lr})
        count = self.count = len(matrices)
        self.parts: list[torch.optim.Optimizer] = []
        if matrices:
            self.parts.append(torch.optim.Muon(self.param_groups[:count], lr=lr, adjust_lr_fn="match_rms_adamw"))
        if others:
            self.parts.append(torch.optim.AdamW(self.param_groups[count:], lr=lr, betas=betas, eps=eps))

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of both."""
        assert closure is None
        for part in self.parts:
            # Shared anew: accelerate loads an optimizer's own state into it, which makes other groups of the same parameters.
            part.state = self.state
            part.param_groups = self.param_groups[: self.count] if isinstance(part, torch.optim.Muon) else self.param_groups[self.count :]
            part.step()
        return None


def is_matrix(name: str, parameter: torch.Tensor, tables: set[str]) -> bool:
    """Whether Muon steps it: a matrix that is no table of the vocabulary."""
    return parameter.dim() == 2 and name not in tables
