"""Everything together: of this machine, and of one whose drivers are others."""

import os
import shutil
from pathlib import Path

import psutil
import pytest

from entrypoint import __version__, probe
from entrypoint.probe import apple, ascend, nvidia, rocm
from entrypoint.probe.survey import find_device
from schemas.accelerator import Accelerator
from schemas.facts import Facts, SourceFacts


def test_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CAISSON_ACCELERATOR", "cpu")
    facts = probe.probe(tmp_path / "not" / "there", ("/no/such", "hf://a/b", "ms://a/b"))
    assert (facts.device, facts.accelerators, facts.program) == ("cpu", (), __version__)
    assert 1 <= facts.cpu_cores <= (os.cpu_count() or 1)
    assert 0 < facts.ram_gib <= psutil.virtual_memory().total / 2**30 + 0.01
    assert facts.disk_free_gib == pytest.approx(shutil.disk_usage(tmp_path).free / 2**30, abs=1)
    assert facts.sources == {"/no/such": SourceFacts(kind="missing")}, "hubs are not looked at"
    assert Facts.model_validate_json(facts.model_dump_json()) == facts


def test_probing_writes_nothing(tmp_path: Path) -> None:
    probe.probe(tmp_path / "store", (str(tmp_path),))
    assert list(tmp_path.iterdir()) == []


FOUND = {
    nvidia: Accelerator(name="Tesla T4", memory_gib=15, compute_capability="7.5"),
    rocm: Accelerator(kind="rocm", name="AMD Instinct MI300X", memory_gib=192),
    ascend: Accelerator(kind="npu", name="Ascend 910B3", memory_gib=64),
    apple: Accelerator(kind="mps", name="Apple M1 Max", memory_gib=64),
}


@pytest.mark.parametrize("there", [(nvidia,), (rocm,), (ascend,), (apple,), (nvidia, rocm), (rocm, ascend), ()], ids=str)
def test_the_first_vendor_that_lists_something(monkeypatch: pytest.MonkeyPatch, there: tuple) -> None:
    monkeypatch.delenv("CAISSON_ACCELERATOR", raising=False)
    for module, one in FOUND.items():
        monkeypatch.setattr(module, "accelerators", lambda one=one, has=module in there: (one,) if has else ())
    device, accelerators = find_device()
    assert (device, accelerators) == ((FOUND[there[0]].kind, (FOUND[there[0]],)) if there else ("cpu", ()))
    monkeypatch.setenv("CAISSON_ACCELERATOR", "cpu")
    assert find_device() == ("cpu", ())
    monkeypatch.setenv("CAISSON_ACCELERATOR", "cuda")
    assert find_device() == ("cuda", (FOUND[nvidia],) if nvidia in there else ())
