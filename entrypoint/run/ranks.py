"""Which of torchrun's processes this is; the one reader of its environment."""

import os
import sys
from typing import NoReturn


def rank() -> int:
    """0 for the only or the first process."""
    return int(os.environ.get("RANK", "0"))


def is_first() -> bool:
    """Whether this process speaks and writes for all."""
    return rank() == 0


def ranks() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_one_of_several() -> bool:
    """Whether torchrun started other processes beside this one."""
    return ranks() > 1


def leave() -> NoReturn:
    """End at once with 0, once everything is written: communication threads that are still there when the interpreter is taken
    down abort the process now and then ("terminate called without an active exception"), after all the work is done."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def local_rank() -> int:
    """Index of this process's device on this machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))
