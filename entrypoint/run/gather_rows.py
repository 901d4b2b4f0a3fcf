"""What each rank says of its rows, together, where one rank has a row fewer."""

from typing import Any

import torch


class GatherRows:
    """accelerate's `gather` for what TRL's trainers say of each row: it wants one shape of all ranks, and one may be a row short."""

    def __init__(self, gather: Any):
        self.gather = gather

    def __call__(self, tensor: Any) -> Any:
        """The rows of all ranks, in order."""
        if not isinstance(tensor, torch.Tensor) or not tensor.ndim:
            return self.gather(tensor)
        lengths = self.gather(torch.tensor([len(tensor)], device=tensor.device)).tolist()
        longest = max(lengths)
        padded = torch.cat([tensor, tensor.new_zeros((longest - len(tensor), *tensor.shape[1:]))])
        found = self.gather(padded)
        return torch.cat([found[at * longest : at * longest + length] for at, length in enumerate(lengths)])
