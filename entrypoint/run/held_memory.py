"""The most memory that a training process has held: on the GPU, or on a CPU with what its children hold beside it."""

from collections.abc import Iterator
from pathlib import Path

from entrypoint.run.peak import peak_bytes

PROCESSES = Path("/proc")


class HeldMemory:
    """Look now and then: of children only what they hold at a look is known, of this process the kernel keeps the peak."""

    def __init__(self, process: int):
        self.process = process
        self.children = 0

    def look(self) -> None:
        """Count what the children hold now."""
        self.children = max(self.children, sum(proportional_bytes(child) for child in below(self.process)))

    def peak(self) -> int:
        """Bytes. On a GPU what torch has allocated there, which is what a plan can tell; the context and fragments come on top."""
        import torch

        return int(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else peak_bytes() + self.children


def below(process: int) -> Iterator[int]:
    """Its children, theirs, and so on; what ends meanwhile is left out."""
    try:
        lists = [path.read_text() for path in (PROCESSES / str(process) / "task").glob("*/children")]
    except OSError:
        return
    for child in (int(word) for words in lists for word in words.split()):
        yield child
        yield from below(child)


def proportional_bytes(process: int) -> int:
    """Its memory, shared pages by its share of them; 0 for one that is gone, or of another user."""
    try:
        lines = (PROCESSES / str(process) / "smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    except OSError:
        return 0
