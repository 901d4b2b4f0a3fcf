"""`caisson calibrate` in the trainer's image: real rates, kept where the probe reads them."""

import json
import time

import pytest

pytest.importorskip("torch")

from tiny import run

from entrypoint.probe import probe
from schemas.facts import DISK_SPEED
from schemas.rates import RATES, Rates

pytestmark = [pytest.mark.image, pytest.mark.timeout(300)]


def test_measures_keeps_and_says(tmp_path, monkeypatch):
    store = tmp_path / "store"
    began = time.time()
    said = run("calibrate", "--store", store, cwd=tmp_path)
    assert "matrix product in fp32" in said and "matrix product in bf16" in said and "all-reduce between 2 processes" in said
    assert "calibrate: cpu measured in " in said
    found = probe(store).rates
    assert found is not None and found.device == "cpu"
    assert set(found.matmul_tflops) == {"bf16", "fp32"}
    # A core has a few GFLOP/s at the least, and no CPU has a hundred TFLOP/s; a copy no less than 100 MiB/s.
    assert all(1e-3 < speed < 100 for speed in found.matmul_tflops.values())
    assert 0.1 < found.memory_gib < 5000
    assert found.host_gib is None and found.collective_gib is not None and 1e-3 < found.collective_gib < 1000
    assert 0.1 < found.launch_us < 10_000
    assert began <= (found.measured_at or 0) <= time.time() + 1
    assert (store / DISK_SPEED).is_file()
    assert len(found.image_lock) == 64, "measured in an image, with its packages"
    other = found.model_copy(update={"image_lock": "0" * 64, "measured_at": 1.0})
    (store / RATES).write_text('{"measured": [' + other.model_dump_json() + "," + found.model_dump_json() + "]}")
    assert probe(store).rates == found, "the newest"


def test_json_alone_on_standard_output(tmp_path):
    import subprocess
    import sys

    from tiny import ROOT

    done = subprocess.run(
        [sys.executable, "-m", "entrypoint", "calibrate", "--store", str(tmp_path / "s"), "--json"], cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": "/bin", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Rates.model_validate(json.loads(done.stdout)).device == "cpu"
    assert "matrix product" in done.stderr


def test_a_store_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    said = run("calibrate", "--store", tmp_path / "file" / "store", cwd=tmp_path, code=3)
    assert "cannot be written: Not a directory" in said and "Traceback" not in said
