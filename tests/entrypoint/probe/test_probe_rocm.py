"""What is made of the files that Linux keeps of AMD's accelerators; recorded/README.md says where they are from."""

from pathlib import Path

import pytest

from entrypoint.plan.accelerators import find_kind
from entrypoint.probe import rocm
from schemas.accelerator import Link
from schemas.errors import MachineError

RECORDED = Path(__file__).parent / "recorded"
CARD = "class/drm/renderD128/device"


@pytest.fixture(autouse=True)
def nothing_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


def lay_out(name: str, folder: Path) -> Path:
    """The files of a recording below a folder, in place of /sys."""
    for section in (RECORDED / f"{name}.txt").read_text(encoding="utf-8").split("==> ")[1:]:
        path, _, text = section.partition(" <==\n")
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


def test_four_with_infinity_fabric(tmp_path: Path) -> None:
    found = rocm.accelerators(lay_out("rocm-mi300x-x4", tmp_path))
    assert len(found) == 4 and len(set(found)) == 1
    one = found[0]
    assert (one.kind, one.name, one.compute_capability, one.driver) == ("rocm", "AMD Instinct MI300X OAM", None, "6.10.5")
    assert (one.memory_gib, one.memory_free_gib, one.has_bf16, one.has_fp8) == (191.98, 191.71, True, True)
    assert one.host_gib_per_second == 58.7
    assert one.link == Link(kind="xgmi", gib_per_second=round(3 * 64e9 / 2**30, 1)), "a link to each of three neighbours"
    kind = find_kind(one.name)
    assert kind and kind.name == "MI300X"


def test_hidden_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out("rocm-mi300x-x4", tmp_path)
    monkeypatch.setenv("ROCR_VISIBLE_DEVICES", f"GPU-{9000003:x},0")
    found = rocm.accelerators(tmp_path)
    assert [one.link for one in found] == [Link(kind="xgmi", gib_per_second=59.6)] * 2
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "1")
    assert [one.link for one in rocm.accelerators(tmp_path)] == [Link(kind="none")]


def test_a_card_beside_the_display_of_a_processor(tmp_path: Path) -> None:
    """Half a gigabyte of the host's memory is nothing that one trains on."""
    (one,) = rocm.accelerators(lay_out("rocm-rx-7900-beside-a-display", tmp_path))
    assert (one.name, one.memory_gib, one.has_bf16, one.has_fp8, one.link) == ("AMD gfx1100", 23.98, True, False, Link(kind="none"))
    assert one.host_gib_per_second == 29.3


def test_no_driver(tmp_path: Path) -> None:
    assert rocm.accelerators(tmp_path) == ()


@pytest.mark.parametrize(
    ("version", "name"), [(90402, "gfx942"), (90010, "gfx90a"), (90008, "gfx908"), (110000, "gfx1100"), (120001, "gfx1201"), (90500, "gfx950")]
)
def test_architecture(version: int, name: str) -> None:
    assert rocm.architecture(version) == name


@pytest.mark.parametrize(
    ("text", "generation"), [("32.0 GT/s PCIe", 5), ("16.0 GT/s PCIe", 4), ("8.0 GT/s PCIe", 3), ("2.5 GT/s PCIe", 1), ("Unknown", None), ("", None)]
)
def test_rate_of_the_slot(text: str, generation: int | None) -> None:
    assert rocm.parse_rate(text) == generation


def test_properties() -> None:
    assert rocm.parse_properties("simd_count 1216\nname MI300X\n\nunique_id\ncapability -1\nx ٣\na b c\n") == {"simd_count": "1216"}


@pytest.mark.parametrize("gone", ["mem_info_vram_used", "current_link_speed", "current_link_width", "product_name"])
def test_files_that_an_older_kernel_does_not_have(tmp_path: Path, gone: str) -> None:
    (lay_out("rocm-mi300x-x4", tmp_path) / CARD / gone).unlink()
    one = rocm.accelerators(tmp_path)[0]
    assert one.memory_gib == 191.98
    assert (one.memory_free_gib is None) is (gone == "mem_info_vram_used")
    assert (one.host_gib_per_second is None) is gone.startswith("current_link")
    assert (one.name == "AMD gfx942") is (gone == "product_name")


@pytest.mark.parametrize("text", ["", "many", "-1", "٣"])
def test_memory_that_is_not_said(tmp_path: Path, text: str) -> None:
    (lay_out("rocm-rx-7900-beside-a-display", tmp_path) / CARD / "mem_info_vram_total").write_text(text, encoding="utf-8")
    assert rocm.accelerators(tmp_path) == ()


def test_memory_that_cannot_be(tmp_path: Path) -> None:
    (lay_out("rocm-rx-7900-beside-a-display", tmp_path) / CARD / "mem_info_vram_total").write_text("9" * 30)
    with pytest.raises(MachineError, match="AMD's driver says of accelerator 0 what cannot be: memory_gib: Input should be less than 1000000000"):
        rocm.accelerators(tmp_path)
