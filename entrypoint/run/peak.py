"""The most memory that this process has held."""

from contextlib import suppress
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_bytes() -> int:
    """Since the start or the last `Peak`, pages of mapped files included."""
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


class Peak:
    """Counts from its making on; without effect where the kernel does not allow it."""

    def __init__(self) -> None:
        self.before = peak_bytes()
        with suppress(OSError):
            CLEAR.write_text("5")

    def since(self) -> int:
        """Bytes, at most, since it was made."""
        return peak_bytes()

    def whole(self) -> int:
        """Bytes, at most, with what was before."""
        return max(self.before, peak_bytes())
