"""Which of torchrun's processes this is; the one reader of its environment."""

import ctypes
import os
import signal
import sys
from typing import NoReturn

LAUNCHER = "CAISSON_LAUNCHER"
"""Variable with the process id of the launcher that a rank belongs to."""

PR_SET_PDEATHSIG = 1
"""Of prctl(2)."""


def rank() -> int:
    """0 for the only or the first process."""
    return int(os.environ.get("RANK", "0"))


def is_first() -> bool:
    """Whether this process speaks and writes for all."""
    return rank() == 0


def is_on_first_node() -> bool:
    """Whether the first process is on this machine too. The others leave the events alone: a network file system mixes what two machines append."""
    return os.environ.get("GROUP_RANK", "0") == "0"


def ranks() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_one_of_several() -> bool:
    """Whether torchrun started other processes beside this one."""
    return ranks() > 1


def leave(code: int = 0) -> NoReturn:
    """End at once, after everything is written. Communication threads that are still there when the interpreter is taken down abort
    the process now and then ("terminate called without an active exception"); and while it is taken down, its neighbours fail on
    connections that are closed and would be taken for the first that failed."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def end_with_launcher() -> None:
    """Let the kernel end this process when its launcher dies: torchrun gives each rank a session of its own, so that nothing else would."""
    launcher = os.environ.get(LAUNCHER)
    if launcher is None:
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(launcher):  # it died before the kernel was asked
        os._exit(1)


def local_rank() -> int:
    """Index of this process's device on this machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))
