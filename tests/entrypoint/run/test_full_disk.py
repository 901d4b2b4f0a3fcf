"""The disk fills during a save of a real training: said in words, nothing lost, and the same command goes on when there is room."""

import hashlib
import re
import shutil
import signal
from pathlib import Path

import pytest

pytest.importorskip("trl")

from tiny import caisson, fetched_store, rows, run, spec, write_model, write_rows

pytestmark = [pytest.mark.image, pytest.mark.timeout(600)]


def newest(store: Path) -> Path:
    """The newest sealed checkpoint."""
    found = [p for p in (store / "tiny" / "train").glob(".partial-*/checkpoints/step-*") if (p / "manifest.json").is_file()]
    return max(found, key=lambda p: int(p.name.partition("-")[2]))


def content(folder: Path) -> dict[str, str]:
    """Each file's hash."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


@pytest.mark.parametrize("strategy", ["single", "ddp"])
def test_a_save_that_does_not_fit_ends_with_3_and_the_run_goes_on_when_there_is_room(small_disk, tmp_path, strategy):
    model, data = write_model(tmp_path / "model"), write_rows(tmp_path / "rows.jsonl", rows(70))
    store = shutil.copytree(fetched_store(tmp_path, model, data), small_disk / "store")
    train = "{epochs: 3, learning_rate: 1.0e-3, batch_tokens: 240, checkpoint: {every: 2, keep: 2}}"
    path = spec(tmp_path, model, data, train=train, track="[]", hardware=f"{{strategy: {strategy}}}")
    process = caisson("train", path, "--store", store, cwd=tmp_path)
    assert process.stdout is not None
    for printed in process.stdout:
        if re.search(r"step \d+/", printed):
            break
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 75, out + err

    last = newest(store)
    before = content(last)
    size = sum(p.stat().st_size for p in last.iterdir())
    filler = small_disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - size // 2))  # events and curves still fit, another checkpoint does not
    said = run("train", path, "--store", store, cwd=tmp_path, code=3)
    assert f"goes on from {last.name}" in said
    assert "caisson: no space left on the store while writing" in said and "make room and run the same command again" in said
    assert "Traceback" not in said
    assert newest(store) == last and content(last) == before

    filler.unlink()
    said = run("train", path, "--store", store, cwd=tmp_path)
    assert f"goes on from {last.name}" in said and "sealed tiny/train/" in said
