"""The accelerator of an Apple processor, as macOS describes it."""

import json
import sys

from entrypoint.probe.command import ask_driver, fix_driver, printable
from schemas.accelerator import Accelerator, Link, accelerator_of
from schemas.errors import MachineError


def accelerators() -> tuple[Accelerator, ...]:
    """At most one; none elsewhere than on macOS, and in machines with another vendor's. Raises MachineError where macOS answers strangely."""
    if sys.platform != "darwin":
        return ()
    said, size = ask_driver("system_profiler", "-json", "SPDisplaysDataType"), ask_driver("sysctl", "-n", "hw.memsize")
    name = parse_displays(said) if said else None
    if name is None:
        return ()
    return (describe(name, size or "", ask_driver("sw_vers", "-productVersion")),)


def parse_displays(text: str) -> str | None:
    """Name of Apple's accelerator; None where all are of other vendors. Raises MachineError for another form than is known."""
    try:
        entries = json.loads(text)["SPDisplaysDataType"]
        apple = [entry for entry in entries if "apple" in str(entry.get("spdisplays_vendor", "")).lower() and "sppci_cores" in entry]
        return printable(str(apple[0].get("sppci_model") or apple[0]["_name"]), 200) if apple else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise MachineError("`system_profiler -json SPDisplaysDataType` answers in another form than is known", fix_driver("system_profiler")) from None


def describe(name: str, size: str, system: str | None) -> Accelerator:
    """With the machine's memory, bytes as `sysctl` prints them, which it shares; macOS's version is the driver's."""
    memory = int(size) / 1024**3 if size.isascii() and size.isdigit() else 0
    return accelerator_of(
        "macOS",
        0,
        kind="mps",
        name=name,
        memory_gib=round(memory, 2),
        link=Link(kind="none"),
        driver=f"macOS {printable(system, 50)}" if system else None,
    )
