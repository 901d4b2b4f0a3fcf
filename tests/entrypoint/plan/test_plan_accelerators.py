"""Kinds by the names that drivers report, and the rates that are expected of them."""

import pytest

from entrypoint.plan.accelerators import NUMBERS, Kind, find_kind, tabled_rates
from entrypoint.plan.tables import ACCELERATORS
from schemas.accelerator import Accelerator, Link, pcie_gib

H100 = Accelerator(name="NVIDIA H100 80GB HBM3", memory_gib=79.6, compute_capability="9.0")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Tesla T4", "T4"),
        ("Tesla V100-SXM2-16GB", "V100 SXM2 16 GB"),
        ("Tesla V100-SXM2-32GB", "V100 SXM2 32 GB"),
        ("Tesla V100-PCIE-16GB", "V100 PCIe 16 GB"),
        ("Tesla V100-PCIE-32GB", "V100 PCIe 32 GB"),
        ("Tesla V100S-PCIE-32GB", "V100S PCIe 32 GB"),
        ("NVIDIA GeForce RTX 3090", "RTX 3090"),
        ("GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA A10", "A10"),
        ("NVIDIA A10G", "A10G"),
        ("NVIDIA A100-SXM4-40GB", "A100 SXM4 40 GB"),
        ("NVIDIA A100-SXM4-80GB", "A100 SXM4 80 GB"),
        ("NVIDIA A100-PCIE-40GB", "A100 PCIe 40 GB"),
        ("NVIDIA A100 80GB PCIe", "A100 PCIe 80 GB"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA H100 80GB HBM2e", "H100 PCIe"),
        ("NVIDIA H100 NVL", "H100 NVL"),
        ("NVIDIA H200", "H200 SXM"),
        ("NVIDIA H200 NVL", "H200 NVL"),
        ("NVIDIA B200", "B200"),
        ("AMD Instinct MI300X", "MI300X"),
        ("Ascend 910B3", "Ascend 910B3"),
        ("Apple M1", "Apple M1"),
        ("Apple M1 Max", "Apple M1 Max"),
        ("H100", "H100 PCIe"),
    ],
)
def test_kind_by_name(name: str, kind: str) -> None:
    found = find_kind(name)
    assert found
    assert found.name == kind


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA GeForce RTX 3090 Ti",
        "NVIDIA A100-SXM4-80GB MIG 1g.10gb",
        "GRID T4-8Q",
        "Apple M2 Max",
        "NVIDIA GH200 480GB",
        "NVIDIA L40",
        "NVIDIA A1000",
        "",
        "GeForce",
    ],
)
def test_what_only_looks_like_a_kind(name: str) -> None:
    assert find_kind(name) is None
    assert tabled_rates(H100.model_copy(update={"name": name})) is None


def every_kind() -> list[Kind]:
    found = [find_kind(row["name"]) for row in ACCELERATORS["kinds"]]
    return [kind for kind in found if kind]


def test_every_row_can_be_found_and_is_whole() -> None:
    words = [tuple(sorted(row["words"])) for row in ACCELERATORS["kinds"]]
    assert len(set(words)) == len(words) == len({row["name"] for row in ACCELERATORS["kinds"]})
    for row in ACCELERATORS["kinds"]:
        kind = find_kind(" ".join(row["words"]))
        assert kind
        assert kind.name == row["name"]
        assert len(kind.source) > 20
        assert set(kind.tflops) <= {*NUMBERS, "tf32"}
        assert kind.tflops and all(value > 0 for value in kind.tflops.values())
        assert (kind.link == "none") is (kind.link_gib is None)


def test_peaks_are_dense() -> None:
    """Data sheets of newer cards count sparsity: fp8 is twice bf16, tf32 half of it, never four times."""
    for kind in every_kind():
        if "fp8" in kind.tflops:
            assert kind.tflops["fp8"] == pytest.approx(2 * kind.tflops["bf16"], rel=0.02), kind.name
        if "tf32" in kind.tflops:
            assert kind.tflops["tf32"] == pytest.approx(kind.tflops["bf16"] / 2, rel=0.02), kind.name


def test_the_measured_card() -> None:
    """789 TFLOP/s is what one H100 was measured at."""
    rates = tabled_rates(H100)
    assert rates
    assert rates.matmul_tflops["bf16"] == pytest.approx(789, rel=0.005)
    assert rates.matmul_tflops["fp8"] == pytest.approx(1402.6, rel=0.02)
    assert 0.8 * 3350 / 1.0737 < rates.memory_gib < 3350 / 1.0737
    assert rates.host_gib is not None and 45 < rates.host_gib < 55
    assert rates.collective_gib is not None and 300 < rates.collective_gib < 419
    assert rates.measured_at is None
    assert "H100 SXM" in rates.source and "0.797" in rates.source


def test_a_card_has_only_the_numbers_that_it_computes() -> None:
    t4 = tabled_rates(Accelerator(name="Tesla T4", memory_gib=14.6, compute_capability="7.5"))
    assert t4
    assert set(t4.matmul_tflops) == {"fp16", "fp32"}
    mps = tabled_rates(Accelerator(kind="mps", name="Apple M1 Max", memory_gib=32))
    assert mps
    assert (set(mps.matmul_tflops), mps.host_gib, mps.collective_gib) == ({"fp32"}, None, None)


def test_what_the_facts_say_goes_first() -> None:
    table, slow = tabled_rates(H100), tabled_rates(H100.model_copy(update={"memory_gib_per_second": 1000.0, "link": Link(kind="pcie", gib_per_second=10)}))
    assert table and slow
    assert slow.memory_gib == 850.0
    assert slow.collective_gib == 4.0
    assert slow.matmul_tflops == table.matmul_tflops


@pytest.mark.parametrize(
    ("link", "collective"),
    [
        (None, 335.3),
        (Link(kind="nvlink"), 335.3),
        (Link(kind="none"), None),
        (Link(kind="pcie"), None),
    ],
    ids=["not known: the module's own", "kind alone", "alone", "slot not known"],
)
def test_links(link: Link | None, collective: float | None) -> None:
    rates = tabled_rates(H100.model_copy(update={"link": link}))
    assert rates
    assert rates.collective_gib == collective


def test_slots() -> None:
    assert pcie_gib(4, 16) == pytest.approx(29.3, abs=0.1)
    assert pcie_gib(3, 8) == pytest.approx(7.3, abs=0.1)
    assert pcie_gib(9, 16) is None


def test_a_very_slow_link_is_not_rounded_to_nothing() -> None:
    slow = Accelerator(
        name="NVIDIA B200", memory_gib=178.3, compute_capability="10.0", host_gib_per_second=0.001, link=Link(kind="nvlink", gib_per_second=0.001)
    )
    rates = tabled_rates(slow)
    assert rates and rates.collective_gib == pytest.approx(0.0008) and rates.host_gib == pytest.approx(0.00085)
