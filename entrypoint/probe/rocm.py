"""AMD accelerators, as Linux lists them below /sys: without a library of ROCm's."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from entrypoint.probe.command import printable
from entrypoint.probe.environment import seen
from entrypoint.probe.speeds import GIB, PCIE_RATES, gib, slot_speed, speed
from schemas.accelerator import Accelerator, Link, accelerator_of

NODES = "class/kfd/kfd/topology/nodes"
XGMI = "11"
"""CRAT_IOLINK_TYPE_XGMI of the kernel's amdkfd/kfd_crat.h."""

OWN_MEMORY = 8 * GIB
"""Bytes. What has less is a display in a processor, on which nobody trains."""

WITH_BF16 = ("gfx908", "gfx90a", "gfx94", "gfx95", "gfx11", "gfx12")
"""Matrix units: AMD's instruction set manuals of CDNA 1 to 4, RDNA 3 and 4."""

WITH_FP8 = ("gfx94", "gfx95", "gfx12")

Properties = dict[str, str]


@dataclass(frozen=True)
class Node:
    """An accelerator in the topology of the kernel's driver."""

    number: str
    properties: Properties
    links: tuple[Properties, ...]


def accelerators(system: Path = Path("/sys")) -> tuple[Accelerator, ...]:
    """As far as ROCR_VISIBLE_DEVICES and HIP_VISIBLE_DEVICES let this process see them; empty without the driver. Raises MachineError where it says what cannot be."""
    found = [node for node in _nodes(system / NODES) if _memory(system, node) >= OWN_MEMORY]
    chosen = [found[place] for place in seen("rocm", [f"GPU-{int(node.properties.get('unique_id') or 0):x}" for node in found])]
    numbers = {node.number for node in chosen}
    driver = _text(system / "module/amdgpu/version")
    return tuple(_describe(system, at, node, numbers, driver) for at, node in enumerate(chosen))


def parse_properties(text: str) -> Properties:
    """Lines of a name and a number."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2 and pair[1].isascii() and pair[1].isdigit()}


def architecture(version: int) -> str:
    """gfx942 of 90402: two digits each of major, minor and step, of which the last two are hexadecimal in the name."""
    return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"


def parse_rate(text: str) -> int | None:
    """PCIe generation of `32.0 GT/s PCIe`."""
    return PCIE_RATES.get((text.split() or [""])[0])


def _nodes(folder: Path) -> Iterator[Node]:
    try:
        paths = sorted((path for path in folder.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
    except OSError:
        return
    for path in paths:
        properties = parse_properties(_text(path / "properties"))  # empty where a container may not read it
        if properties.get("simd_count", "0") != "0" and properties.get("cpu_cores_count", "0") == "0":
            yield Node(path.name, properties, tuple(_links(path / "io_links")))


def _links(folder: Path) -> Iterator[Properties]:
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return
    yield from (parse_properties(_text(path / "properties")) for path in paths)


def _describe(system: Path, at: int, node: Node, together: set[str], driver: str) -> Accelerator:
    device, gfx = _device(system, node), architecture(int(node.properties.get("gfx_target_version", "0")))
    total = _memory(system, node)
    used = _text(device / "mem_info_vram_used")
    width = _text(device / "current_link_width")
    host = slot_speed(parse_rate(_text(device / "current_link_speed")), int(width) if width.isdigit() else None)
    return accelerator_of(
        "AMD's driver",
        at,
        kind="rocm",
        name=printable(_text(device / "product_name"), 200) or f"AMD {gfx}",
        memory_gib=gib(total),
        memory_free_gib=gib(max(0, total - int(used))) if used.isdigit() else None,
        bf16=gfx.startswith(WITH_BF16),
        fp8=gfx.startswith(WITH_FP8),
        host_gib_per_second=host,
        link=_link(node, together, host),
        driver=printable(driver, 100) or None,
    )


def _link(node: Node, together: set[str], host: float | None) -> Link:
    if len(together) < 2:
        return Link(kind="none")
    fast = [link for link in node.links if link.get("type") == XGMI and link.get("node_to") in together]
    if not fast:
        return Link(kind="pcie", gib_per_second=host)
    return Link(kind="xgmi", gib_per_second=speed(sum(int(link.get("max_bandwidth", "0")) for link in fast) * 1e6))


def _memory(system: Path, node: Node) -> int:
    """Bytes of its own; 0 where that is not said."""
    said = _text(_device(system, node) / "mem_info_vram_total")
    return int(said) if said.isascii() and said.isdigit() else 0


def _device(system: Path, node: Node) -> Path:
    return system / f"class/drm/renderD{node.properties.get('drm_render_minor', '0')}/device"


def _text(path: Path) -> str:
    """A small file; nothing where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
