"""Whether the kernel has ended a process because memory ran out."""

from pathlib import Path

from schemas.errors import CaissonError, MachineError, StepFailed

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")

REMEDY = "give the container or the machine more memory, or let it need less: a lower data.max_length or train.batch_tokens, or a smaller adapter"


def memory_kills() -> int:
    """Processes of this control group, as a rule of this container, that the kernel has ended for memory so far: `oom_kill` of memory.events
    (Linux, admin-guide/cgroup-v2). 0 where the kernel does not count."""
    try:
        group = next(line.removeprefix("0::/").strip() for line in OWN.read_text().splitlines() if line.startswith("0::"))
        counts = dict(line.split() for line in (CGROUPS / group / "memory.events").read_text().splitlines())
        return int(counts.get("oom_kill", 0))
    except (OSError, StopIteration, ValueError):
        return 0


def ended_by_memory(what: str, before: int) -> CaissonError:
    """The error for a process that was ended by SIGKILL: sure of the cause where the kernel has counted one more than `before`."""
    if memory_kills() > before:
        return MachineError(f"{what} was ended by the kernel: the memory ran out", REMEDY)
    return StepFailed(f"{what} was ended by SIGKILL, as the kernel does where memory runs out", f"if nobody else has ended it, {REMEDY}")
