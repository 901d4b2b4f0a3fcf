"""Programs of this machine, asked for what they know."""

import shutil
import subprocess

from schemas.errors import MachineError

SECONDS = 10
"""That a program may take to answer."""


def ask(*argv: str) -> str:
    """What a program prints. Raises what subprocess.run raises; what is no UTF-8 is replaced."""
    return subprocess.run(argv, capture_output=True, encoding="utf-8", errors="replace", timeout=SECONDS, check=True).stdout.strip()


def ask_driver(*argv: str) -> str | None:
    """What a vendor's program prints; None where it is not installed. Raises MachineError where it fails."""
    if not shutil.which(argv[0]):
        return None
    shown = " ".join(argv)
    try:
        return ask(*argv)
    except subprocess.TimeoutExpired:
        raise MachineError(f"`{shown}` did not answer within {SECONDS} s", fix_driver(argv[0])) from None
    except (subprocess.CalledProcessError, OSError) as error:
        lines = str(getattr(error, "stderr", "") or "").strip().splitlines()
        said = next((line for line in reversed(lines) if line.strip()), str(error))
        raise MachineError(f"`{shown}` failed: {printable(said, 300)}", fix_driver(argv[0])) from None


def fix_driver(program: str) -> str:
    """What to do about a driver that does not answer as it should."""
    return f"see what `{program}` says; CAISSON_ACCELERATOR=cpu plans without it, --facts FILE for a machine as a file describes it"


def printable(text: str, most: int) -> str:
    """What a driver says, without what a terminal would take for commands."""
    return "".join(letter for letter in text if letter.isprintable()).strip()[:most]
