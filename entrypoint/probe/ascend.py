"""Huawei's Ascend NPUs, as `npu-smi` lists them."""

import re
from dataclasses import dataclass

from entrypoint.probe.command import ask_driver, fix_driver, printable
from entrypoint.probe.environment import seen
from schemas.accelerator import Accelerator, Link, accelerator_of
from schemas.errors import MachineError

USAGE = re.compile(r"(\d+)\s*/\s*(\d+)")
VERSION = re.compile(r"npu-smi\s+(\S+)\s+Version:\s*(\S+)")

WITH_BF16 = re.compile(r"910B\d|910_93")
"""CANN's documentation of supported types: bf16 came with Atlas A2, whose chips are 910B1 to 910B4; 910B alone is older."""

WITHOUT_BF16 = re.compile(r"910(A|B$|Pro|Premium)|310")


@dataclass(frozen=True)
class Chip:
    """One row of the table."""

    npu: str
    name: str
    health: str
    used_mib: int
    total_mib: int


def accelerators() -> tuple[Accelerator, ...]:
    """As far as ASCEND_RT_VISIBLE_DEVICES lets this process see them; empty without `npu-smi`. Raises MachineError where it answers strangely."""
    said = ask_driver("npu-smi", "info")
    if said is None:
        return ()
    chips = parse_info(said)
    chosen = [chips[place] for place in seen("npu", [""] * len(chips))]
    kind = parse_topology(ask_driver("npu-smi", "info", "-t", "topo") or "") if len(chosen) > 1 else "none"
    return tuple(_describe(at, chip, kind, parse_version(said)) for at, chip in enumerate(chosen))


def parse_info(text: str) -> list[Chip]:
    """Chips of `npu-smi info`: of each a line with the board's name and health, and one with its bus and memory. Raises MachineError for another form."""
    found: list[Chip] = []
    first: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if "Process id" in line:  # the table of processes
            break
        if not line.startswith("|") or len(cells) != 3:
            continue
        if not cells[0][:1].isdigit():  # headings
            continue
        if not first:
            first = cells
            continue
        found.append(_chip(first, cells, line))
        first = []
    if first or not found:
        raise MachineError("`npu-smi info` answers in another form than is known", fix_driver("npu-smi"))
    return found


def _chip(first: list[str], second: list[str], line: str) -> Chip:
    board = first[0].split()
    pairs = [(int(used), int(total)) for used, total in USAGE.findall(second[2])]
    memory = next((pair for pair in reversed(pairs) if pair[1]), None)  # the last is HBM; a card without has 0 / 0 there
    if len(board) < 2 or memory is None:
        raise MachineError(f"`npu-smi info` says nothing of a memory: {printable(line, 120)}", fix_driver("npu-smi"))
    return Chip(npu=board[0], name=board[1], health=first[1], used_mib=memory[0], total_mib=memory[1])


def parse_version(text: str) -> str | None:
    """The driver's version in the first line of `npu-smi info`."""
    found = VERSION.search(text)
    return printable(found[2], 100) if found else None


def parse_topology(text: str) -> str | None:
    """The slowest way between two NPUs in the matrix of `npu-smi info -t topo`; None where there is no matrix."""
    rows = [line.split() for line in text.splitlines() if re.match(r"\s*NPU\d+\s+(?!NPU)\S", line)]
    ways = {word for row in rows for word in row[1 : len(rows) + 1]} - {"X"}
    if not ways:
        return None
    return "hccs" if ways <= {"HCCS", "HCCS_SW", "SIO"} else "pcie"


def _describe(at: int, chip: Chip, kind: str | None, driver: str | None) -> Accelerator:
    if chip.health not in ("OK", "Warning"):
        raise MachineError(f"Ascend NPU {chip.npu} reports {printable(chip.health, 40)}", fix_driver("npu-smi"))
    name = printable(chip.name, 100)
    return accelerator_of(
        "npu-smi",
        at,
        kind="npu",
        name=name if name.startswith("Ascend") else f"Ascend {name}",
        memory_gib=round(chip.total_mib / 1024, 2),
        memory_free_gib=round(max(0, chip.total_mib - chip.used_mib) / 1024, 2),
        bf16=True if WITH_BF16.match(name) else False if WITHOUT_BF16.match(name) else None,
        link=Link.model_validate({"kind": kind}) if kind else None,
        driver=driver,
    )
