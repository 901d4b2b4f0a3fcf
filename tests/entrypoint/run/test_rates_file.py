"""Rates in the store: the newest by device and packages; a damaged file is none."""

from pathlib import Path

import pytest

from entrypoint.probe import probe
from entrypoint.run.rates_file import keep_rates, known_rates
from schemas.rates import RATES, Rates, RatesFile, read_rates


def rates(device: str = "cpu", at: float = 1.0, lock: str = "a") -> Rates:
    return Rates(device=device, matmul_tflops={"fp32": at}, memory_gib=10.0, launch_us=5.0, measured_at=at, image_lock=lock, source="test")


def test_each_device_and_each_lock_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAISSON_ACCELERATOR", "cpu")
    assert probe(tmp_path).rates is None
    for one in (rates(at=1.0), rates("NVIDIA H100", at=9.0), rates(at=2.0), rates(at=1.5, lock="b")):
        keep_rates(tmp_path, one)
    assert len(known_rates(tmp_path).measured) == 3
    assert probe(tmp_path).rates == rates(at=2.0)
    assert known_rates(tmp_path).of("NVIDIA H100") == rates("NVIDIA H100", at=9.0)
    assert known_rates(tmp_path).of("Tesla T4") is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"measured": [{}]}', b"\xff"])
def test_a_damaged_file_is_none_and_is_written_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / RATES).write_bytes(content)
    assert read_rates(content) == RatesFile()
    keep_rates(tmp_path, rates())
    assert known_rates(tmp_path).of("cpu") == rates()
