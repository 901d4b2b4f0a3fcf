"""Machine and environment -> Facts."""

import shutil
from pathlib import Path

from entrypoint import __version__
from entrypoint.probe import apple, ascend, machine, nvidia, rocm
from entrypoint.probe.environment import node_rank, said_device
from entrypoint.probe.sources import look, read_model
from entrypoint.probe.speeds import gib
from schemas.accelerator import Accelerator
from schemas.facts import Device, Facts
from schemas.history import HISTORY, read_history
from schemas.model import HUBS
from schemas.rates import RATES, read_rates


def probe(
    store: Path, sources: tuple[str, ...] = (), model_folders: dict[str, Path] | None = None, *, found: tuple[Device, tuple[Accelerator, ...]] | None = None
) -> Facts:
    """This machine, with the state of local `sources` and the configs of models at hand (`model_folders`, by source).

    No driver is asked where device and accelerators are `found` already."""
    device, accelerators = found or find_device()
    ram = gib(machine.usable_ram())
    return Facts(
        device=device,
        accelerators=accelerators,
        cpu_name=machine.cpu_name(),
        cpu_cores=machine.usable_cores(),
        ram_gib=ram,
        ram_free_gib=min(ram, gib(machine.free_ram())),
        disk_free_gib=round(shutil.disk_usage(machine.nearest_folder(store)).free / 2**30, 1),
        disk_write_gib=machine.disk_write_gib(store),
        rates=read_rates(machine.remembered(store / RATES)).of(accelerators[0].name if accelerators else "cpu"),
        history=read_history(machine.remembered(store / HISTORY)),
        shm_gib=gib(machine.shared_memory()),
        network=machine.has_network(),
        node=node_rank(),
        avx512=machine.has_avx512(),
        program=__version__,
        models={source: facts for source, folder in (model_folders or {}).items() if (facts := read_model(folder, store))},
        sources={s: look(s) for s in sources if s.partition("://")[0] not in HUBS},
    )


def find_device() -> tuple[Device, tuple[Accelerator, ...]]:
    """What this image was built for; outside an image, the first vendor whose driver lists accelerators."""
    said = said_device()
    if said == "cpu":
        return "cpu", ()
    found = nvidia.accelerators()
    if found or said == "cuda":
        return "cuda", found
    if found := rocm.accelerators():
        return "rocm", found
    if found := ascend.accelerators():
        return "npu", found
    if found := apple.accelerators():
        return "mps", found
    return "cpu", ()
