"""What is made of `npu-smi`'s tables; recorded/README.md says where they are from."""

from pathlib import Path

import pytest

from entrypoint.probe import ascend
from schemas.accelerator import Link
from schemas.errors import MachineError

RECORDED = Path(__file__).parent / "recorded"


def said(name: str) -> str:
    return (RECORDED / f"{name}.txt").read_text(encoding="utf-8")


def npu_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """An `npu-smi` of our own on the PATH."""
    (folder / "npu-smi").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "npu-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.delenv("ASCEND_RT_VISIBLE_DEVICES", raising=False)


RECORDING = f'case "$*" in "info -t topo") cat {RECORDED}/npu-smi-topo-910b3-x4.txt;; info) cat {RECORDED}/npu-smi-910b3-x4.txt;; *) exit 9;; esac'


def test_four_with_hccs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npu_smi(tmp_path, monkeypatch, RECORDING)
    found = ascend.accelerators()
    assert [one.memory_free_gib for one in found] == [round((65536 - 3300 - at) / 1024, 2) for at in range(4)]
    one = found[0]
    assert (one.kind, one.name, one.memory_gib, one.has_bf16, one.has_fp8) == ("npu", "Ascend 910B3", 64.0, True, False)
    assert (one.compute_capability, one.driver, one.link) == (None, "24.1.rc3", Link(kind="hccs"))
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "2")
    (only,) = ascend.accelerators()
    assert (only.memory_free_gib, only.link) == (found[2].memory_free_gib, Link(kind="none"))


def test_two_chips_on_a_board() -> None:
    chips = ascend.parse_info(said("npu-smi-a3"))
    assert [(chip.npu, chip.name, chip.total_mib) for chip in chips] == [("0", "Ascend910", 65536)] * 2 + [("1", "Ascend910", 65536)] * 2


def test_older_boards() -> None:
    """The one with HBM, and the one without, whose other memory counts."""
    training, serving = ascend.parse_info(said("npu-smi-older"))
    assert (training.name, training.used_mib, training.total_mib) == ("910ProB", 18, 32768)
    assert (serving.name, serving.used_mib, serving.total_mib) == ("310P3", 1782, 44280)


def test_bf16_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npu_smi(tmp_path, monkeypatch, f'case "$*" in info) cat {RECORDED}/npu-smi-older.txt;; esac')
    assert [one.bf16 for one in ascend.accelerators()] == [False, False]
    npu_smi(tmp_path, monkeypatch, f'case "$*" in info) cat {RECORDED}/npu-smi-a3.txt;; esac')
    found = ascend.accelerators()
    assert {(one.name, one.bf16, one.link) for one in found} == {("Ascend910", None, None)}, "the name says no generation, no matrix no link"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (said("npu-smi-topo-910b3-x4"), "hccs"),
        (said("npu-smi-topo-910b3-x4").replace("NPU3\tHCCS", "NPU3\tPHB"), "pcie"),
        ("       NPU0  NPU1  CPU Affinity\nNPU0   X     SYS   0-23\nNPU1   SYS   X     24-47\n", "pcie"),
        ("", None),
        ("This device does not support querying topo.", None),
    ],
)
def test_slowest_way_between_two(text: str, kind: str | None) -> None:
    assert ascend.parse_topology(text) == kind


def test_no_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ascend.accelerators() == ()


WHOLE = said("npu-smi-910b3-x4")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        WHOLE.replace("|", ";"),
        "\n".join(WHOLE.splitlines()[:7]),
        WHOLE.replace("65536", "much"),
        WHOLE.replace("/ 65536", "/ 0"),
        WHOLE.replace("910B3", "     "),
    ],
    ids=["empty", "nonsense", "another form", "cut", "no number", "no memory", "no name"],
)
def test_strange_answers_are_said_in_words(text: str) -> None:
    with pytest.raises(MachineError, match=r"npu-smi info` (answers in another form|says nothing of a memory)"):
        ascend.parse_info(text)


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("echo DrvMngGetConsoleLogLevel failed >&2; exit 255", "`npu-smi info` failed: DrvMngGetConsoleLogLevel failed"),
        (RECORDING.replace("cat", "sed s/OK/Alarm/", 2), "Ascend NPU 0 reports Alarm"),
        ("printf '\\377\\376'", "`npu-smi info` answers in another form than is known"),
    ],
)
def test_a_driver_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, error: str) -> None:
    npu_smi(tmp_path, monkeypatch, script)
    with pytest.raises(MachineError) as caught:
        ascend.accelerators()
    assert str(caught.value).startswith(error)
    assert "CAISSON_ACCELERATOR=cpu" in str(caught.value)
