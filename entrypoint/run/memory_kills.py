"""Whether the kernel has ended a process because memory ran out."""

from collections.abc import Iterator
from pathlib import Path

from schemas.errors import CaissonError, MachineError, StepFailed

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")

REMEDY = "give the container or the machine more memory, or let it need less: a lower data.max_length or train.batch_tokens, or a smaller adapter"


def memory_kills() -> int:
    """Processes of this control group, as a rule of this container, that the kernel has ended for memory so far: `oom_kill` of memory.events
    (Linux, admin-guide/cgroup-v2) or of memory.oom_control (cgroup-v1/memory). 0 where the kernel does not count."""
    for path in _places():
        try:
            counts = dict(line.split() for line in path.read_text().splitlines())
            return int(counts["oom_kill"])
        except (OSError, KeyError, ValueError):
            continue
    return 0


def _places() -> Iterator[Path]:
    """Where the counts may be. A container of cgroup v1 sees its own group at the top, under the name that it has outside."""
    try:
        lines = [line.split(":", 2) for line in OWN.read_text().splitlines()]
    except OSError:
        return
    for _, controllers, group in (line for line in lines if len(line) == 3):
        if not controllers:
            yield CGROUPS / group.lstrip("/") / "memory.events"
        elif "memory" in controllers.split(","):
            yield CGROUPS / "memory" / group.lstrip("/") / "memory.oom_control"
            yield CGROUPS / "memory" / "memory.oom_control"


def ended_by_memory(what: str, before: int) -> CaissonError:
    """The error for a process that was ended by SIGKILL: sure of the cause where the kernel has counted one more than `before`."""
    if memory_kills() > before:
        return MachineError(f"{what} was ended by the kernel: the memory ran out", REMEDY)
    return StepFailed(f"{what} was ended by SIGKILL, as the kernel does where memory runs out", f"if nobody else has ended it, {REMEDY}")
