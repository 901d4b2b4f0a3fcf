"""An optimizer: Lion (arXiv 2302.06675), which keeps one moment and steps by signs; wants a third of AdamW's learning rate or less."""

import torch


class Lion(torch.optim.Optimizer):
    """All that a resumed run needs is in `self.state`, by parameter: that is what checkpoints hold."""

    def __init__(self, params, lr, beta1: float = 0.9, beta2: float = 0.99):
        super().__init__(params, {"lr": lr, "weight_decay": 0.0, "betas": (beta1, beta2)})

    @torch.no_grad()
    def step(self, closure=None):
        loss = closure() if closure else None
        for group in self.param_groups:
            first, second = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "moment" not in state:
                    state["moment"] = torch.zeros_like(parameter)
                moment = state["moment"]
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(torch.lerp(parameter.grad, moment, first).sign_(), alpha=-group["lr"])
                moment.lerp_(parameter.grad, 1 - second)
        return loss
