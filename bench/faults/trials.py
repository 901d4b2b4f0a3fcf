"""Which trials there are: every call of one save with every fault that can meet it, and every way to damage a file."""

import errno
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from columns import STEP
from injector import Call

FULL = "disk full from here on"
FAULTS = {
    "write": ("EIO", "ENOSPC", "half, then kill", "kill before"),
    "fsync": ("EIO", "kill before", "power cut before"),
    "rename": ("EIO", "kill before", "kill after", "power cut before", "power cut after"),
    "unlink": ("EIO", "kill before", "power cut before"),
    "mkdir": ("EIO", "ENOSPC", "kill before", "power cut before"),
    "truncate": ("EIO", "ENOSPC", "kill before", "power cut before"),
}
"""ENOSPC stays: the disk is full from that call on, for the whole store. A power cut at a write leaves what one at the next flush of the file
leaves: nothing of it."""

DAMAGES = ("emptied", "half", "a byte short", "bit flipped at the start", "bit flipped in the middle", "bit flipped at the end", "removed")


@dataclass(frozen=True)
class Fault:
    """One armed call."""

    call: Call
    how: str

    @property
    def name(self) -> str:
        file = re.sub(r"^\.tmp.*", ".tmp", Path(self.call.path).name)  # safetensors draws such a name anew in each run
        return f"{self.call.kind} {self.call.k} of {file}: {self.how}"

    def settings(self, disk: str, lost: str) -> dict:
        """Arguments of Injector.arm; `lost`: what a power cut takes, where it was not flushed."""
        given = {"kind": self.call.kind, "at": self.call.k, "lost": lost if self.how.startswith("power cut") else ""}
        if self.how in ("EIO", "ENOSPC"):
            return given | {"action": "fail", "error": getattr(errno, self.how), "disk": disk if self.how == "ENOSPC" else ""}
        return given | {"action": self.how.split(",")[0].split()[-1]}


def save_window(calls: list[Call], step: int, every: int) -> list[Call]:
    """The calls of one save: from the first that names its step to the last before the next step is named."""
    named = [{int(n) for n in STEP.findall(f"{c.path} {c.to}")} for c in calls]
    first = next(i for i, found in enumerate(named) if step in found)
    last = next((i for i, found in enumerate(named) if step + every in found), len(calls))
    return calls[first:last]


def end_window(calls: list[Call], final: str) -> list[Call]:
    """The calls that make the final artifact: from the first that names it."""
    first = next(i for i, c in enumerate(calls) if final in c.path)
    return calls[first:]


def faults_of(window: list[Call]) -> list[Fault]:
    """Every fault of every call; after the last one a power cut, when the save counts as done."""
    found = [Fault(call, how) for call in window for how in FAULTS.get(call.kind, ())]
    end = Fault(window[-1], "power cut after")
    return found if end in found else [*found, end]


def damages_of(checkpoint: Path) -> list[tuple[str, str]]:
    """Every file with every damage that changes it."""
    found = []
    for path in sorted(p for p in checkpoint.rglob("*") if p.is_file()):
        size = path.stat().st_size
        found += [(path.relative_to(checkpoint).as_posix(), how) for how in DAMAGES if size > 1 or how in ("emptied", "removed")]
    return found


def damage(path: Path, how: str) -> None:
    """Do it."""
    if how == "removed":
        path.unlink()
        return
    data = bytearray(path.read_bytes())
    if how.startswith("bit flipped"):
        data[{"start": 0, "middle": len(data) // 2, "end": len(data) - 1}[how.split()[-1]]] ^= 1
    else:
        del data[{"emptied": 0, "half": len(data) // 2, "a byte short": len(data) - 1}[how] :]
    path.write_bytes(data)


def moments(kills: int, steps: int, seed: int = 17) -> Iterator[tuple[float, ...]]:
    """When each run is killed, one to four times: 7.3 is the moment 0.3 of the way from step 7 to what follows it, 0 the start."""
    chance = random.Random(seed)
    while kills:
        times = min(kills, chance.randint(1, 4))
        kills -= times
        yield tuple(round(chance.uniform(0, steps + 1), 3) for _ in range(times))


def spread(found: list, count: int, seed: int = 17) -> list:
    """A seeded choice, in the order of the list."""
    chosen = sorted(random.Random(seed).sample(range(len(found)), min(count, len(found))))
    return [found[i] for i in chosen]


def one_of_each(part: str, names: list[str], seed: int = 17) -> list[str]:
    """One trial a kind of call, or a kind of damage, chosen by chance with a seed; of other parts every one."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        kind = name.split()[0] if part in ("faults", "end") else name.rpartition(": ")[2] if part == "damage" else name
        kinds.setdefault(kind, []).append(name)
    chance = random.Random(seed)
    return [chance.choice(members) for members in kinds.values()]
