"""What on this machine will stand in the way, each finding with its fix and a code that stays."""

import os
from pathlib import Path

from entrypoint import probe
from entrypoint.doctor.engine import engine_findings
from entrypoint.doctor.finding import Finding
from entrypoint.doctor.gpu import gpu_findings
from entrypoint.doctor.machine import clock_finding, memory_finding, open_files_finding, shared_memory_finding
from entrypoint.doctor.network import key_findings, port_finding
from entrypoint.doctor.store import disk_finding, inode_finding, owner_findings, spec_finding, store_finding
from schemas.errors import MachineError
from schemas.facts import Facts

__all__ = ["Finding", "examine", "see"]


def see(store: Path) -> tuple[Facts, MachineError | None]:
    """This machine; where a driver does not answer, what is wrong with it, and the machine without it."""
    try:
        return probe.probe(store), None
    except MachineError as error:
        return probe.probe(store, found=("cpu", ())), error


def examine(facts: Facts, store: Path, fault: MachineError | None = None, needs: dict[str, int] | None = None) -> list[Finding]:
    """Every check that makes sense where this runs: the engine on a host, shared memory and mounts in a container.

    `fault` is a driver's. `needs`: bytes that each stage of a spec has still to write, where one was given.
    """
    inside = probe.in_container()
    findings = [] if inside else engine_findings(facts)
    findings += gpu_findings(facts, fault)
    findings += [disk_finding(facts), inode_finding(store)]
    if needs is not None:
        findings.append(spec_finding(facts, needs))
    findings += [memory_finding(facts), open_files_finding(), clock_finding(store), store_finding(store), *key_findings()]
    return [*findings, *owner_findings(store, os.getuid()), shared_memory_finding(facts)] if inside else [*findings, port_finding()]
