"""Which of torchrun's processes this is; the one reader of its environment."""

import os


def rank() -> int:
    """0 for the only or the first process."""
    return int(os.environ.get("RANK", "0"))


def is_first() -> bool:
    """Whether this process speaks and writes for all."""
    return rank() == 0


def local_rank() -> int:
    """Index of this process's device on this machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))
