"""What is known of common kinds of accelerator: peaks of their data sheets, and the part of them that a training reaches."""

from dataclasses import dataclass
from typing import Any, Literal

from entrypoint.plan.device import OLDEST
from entrypoint.plan.tables import ACCELERATORS
from schemas.accelerator import Accelerator, pcie_gib
from schemas.rates import Number, Rates

GIB = 2**30
LINKS = Literal["nvlink", "pcie", "xgmi", "hccs", "none"]
NUMBERS: tuple[Number, ...] = ("bf16", "fp16", "fp32", "fp8")

QUALIFIERS = {"laptop", "ti", "d", "super", "max", "mig", "nvl", "pro", "ultra", "q", "vgpu", "ada", "blackwell"}
"""Words that make of a name that of another kind: an RTX 4090 Laptop GPU is no RTX 4090, a slice of an A100 no A100."""


@dataclass(frozen=True)
class Kind:
    """One kind, by its vendor's data sheet; peaks are dense, without sparsity."""

    name: str
    memory_gib: float | None
    """As the driver reports it; None for Apple's, which have the machine's."""

    tflops: dict[str, float]
    """Peak of matrix products, TFLOP/s, by bf16, fp16, fp32, tf32 and fp8; those that it has. fp32 is without tf32."""

    memory_gib_per_second: float
    link: LINKS
    """The fixed one to its neighbours: bridges between cards are not assumed."""

    link_gib: float | None
    """All its links together, GiB a second one way; None where it is alone."""

    host_gib: float | None
    """To the host's memory, GiB a second one way; None where it has the same."""

    watts: float | None
    """Of the board, at most; None where its vendor does not say."""

    reached: dict[str, float]
    """Part of each peak that is reached: bf16, fp16, fp32, fp8, memory, host and its link."""

    source: str

    capability: tuple[int, ...] | None = None
    """Compute capability, of those that the images hold no kernels for."""

    @property
    def has_image(self) -> bool:
        """Whether an image computes there, which is NVIDIA's alone, without the oldest: xgmi is AMD's, hccs Huawei's, and Apple's have no link."""
        return self.link in ("nvlink", "pcie") and (self.capability is None or self.capability >= OLDEST)


def kinds() -> list[Kind]:
    """Every kind of the table."""
    return [_kind(row) for row in ACCELERATORS["kinds"]]


def find_kind(name: str) -> Kind | None:
    """The kind with that name; None for one that is not in the table, also where only a part of the name is known.

    The row with the most words of the name wins. Where a name leaves open which of two cards it is, as H100 alone does, it is taken for the slower."""
    words = set("".join(letter if letter.isalnum() else " " for letter in name.lower()).split())
    if any(word[:-1].isdigit() and word[-1] in "abcq" for word in words):  # such as T4-8Q: a share of a card for a virtual machine
        return None
    fitting = [row for row in ACCELERATORS["kinds"] if set(row["words"]) <= words and words & QUALIFIERS <= set(row["words"])]
    return _kind(max(fitting, key=lambda row: len(row["words"]))) if fitting else None


def tabled_rates(accelerator: Accelerator) -> Rates | None:
    """What one accelerator of a machine is expected to reach, until it is measured; None where its kind is not in the table.

    What the facts say of memory, link and slot goes before the table's: a card in a narrow slot is slower than its data sheet."""
    kind = find_kind(accelerator.name)
    if kind is None:
        return None
    link, link_gib = kind.link, kind.link_gib
    if accelerator.link:
        link = accelerator.link.kind
        link_gib = accelerator.link.gib_per_second or (kind.link_gib if link == kind.link else None)
    memory = accelerator.memory_gib_per_second or kind.memory_gib_per_second
    host = accelerator.host_gib_per_second or kind.host_gib
    table = ACCELERATORS["reached"]
    said = {number: kind.reached[number] for number in NUMBERS if number in kind.tflops}
    shares = ", ".join(f"{number} {share:g}" for number, share in said.items())
    return Rates(
        device=accelerator.name,
        matmul_tflops={number: round(share * kind.tflops[number], 1) for number, share in said.items()},
        memory_gib=_rounded(kind.reached["memory"] * memory),
        host_gib=_rounded(kind.reached["host"] * host) if host else None,
        collective_gib=_rounded(kind.reached[link] * link_gib) if link != "none" and link_gib else None,
        launch_us=table["launch_us"],
        source=f"table, {kind.name}: of its peaks {shares}, memory {kind.reached['memory']:g}; not measured on this machine. {kind.source}"[:300],
    )


def _rounded(speed: float) -> float:
    """To a tenth, but never to nothing: facts may have a link of a megabyte a second."""
    return round(speed, 1) or speed


def _kind(row: dict[str, Any]) -> Kind:
    host = pcie_gib(*row["pcie"]) if row["pcie"] else None
    promised = row["link_gb"] * 1e9 / GIB if row["link_gb"] else None
    shares = {key: value for key, value in ACCELERATORS["reached"].items() if key not in ("launch_us", "source")}
    return Kind(
        name=row["name"],
        memory_gib=row["memory_gib"],
        tflops=row["tflops"],
        memory_gib_per_second=row["memory_gb"] * 1e9 / GIB,
        link=row["link"],
        link_gib=host if row["link"] == "pcie" else promised,
        host_gib=host,
        watts=row["watts"],
        reached={**shares, **row.get("reached", {})},
        capability=tuple(row["capability"]) if "capability" in row else None,
        source=row["source"],
    )
