"""The most memory that this process has held."""

from contextlib import suppress
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def restart_peak() -> None:
    """Count from what is held now; without effect where the kernel does not allow it."""
    with suppress(OSError):
        CLEAR.write_text("5")


def peak_bytes() -> int:
    """Since the start or the last `restart_peak`, pages of mapped files included."""
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
