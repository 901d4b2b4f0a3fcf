"""Two GPUs over NCCL: each engine learns what one GPU learns, and goes on exactly after a kill. Straight from the checkout; skips itself with fewer.

Kernels of NCCL add in an order of their own for one process and for two, so losses agree within a tolerance; a run and its resumed twin agree bit for bit.
"""

import json
import os
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from resumed import assert_exact, outcome  # noqa: E402
from tiny import run, spec  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(580),
    pytest.mark.skipif(not torch.cuda.is_available() or torch.cuda.device_count() < 2, reason="needs two GPUs"),
]

TRAIN = "{epochs: 3, learning_rate: 1.0e-2, batch_tokens: 240, deterministic: true, checkpoint: {every: 2}, precision: fp32}"
LORA, FULL = "{kind: lora, rank: 8}", "{kind: full}"
KINDS = {
    "ddp-lora": (LORA, "ddp"),
    "ddp-full": (FULL, "ddp"),
    "fsdp-lora": (LORA, "fsdp"),
    "fsdp-full": (FULL, "fsdp"),
    "zero1-full": (FULL, "zero1"),
    "zero2-full": (FULL, "zero2"),
    "zero3-full": (FULL, "zero3"),
    "zero3-lora": (LORA, "zero3"),
    "zero2-offload-full": (FULL, "zero2, offload: cpu"),
    "zero3-offload-full": (FULL, "zero3, offload: cpu"),
}
FIRST = 10
TOLERANCE = 1e-4
"""Relative, of the first losses in fp32."""


@pytest.mark.parametrize(("adapter", "strategy"), KINDS.values(), ids=KINDS)
def test_two_gpus_learn_as_one_and_go_on_exactly(sources, fetched, tmp_path, monkeypatch, adapter, strategy):
    path = spec(tmp_path, *sources, adapter=adapter, hardware=f"{{strategy: {strategy}}}", train=TRAIN)
    plan = json.loads(run("plan", path, "--store", fetched, "--json", cwd=tmp_path))
    (job,) = (step["job"] for step in plan["steps"] if step["stage"] == "train")
    assert job["ranks"] == 2
    together = assert_exact(path, fetched, tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", os.environ.get("CUDA_VISIBLE_DEVICES", "0,1").split(",")[0])
    folder = tmp_path / "one"
    folder.mkdir()
    store = shutil.copytree(fetched, folder / "store")
    run("train", spec(folder, *sources, adapter=adapter, hardware="{strategy: single}", train=TRAIN), "--store", store, cwd=folder)
    alone = outcome(store)[0]
    pairs = [(one["loss"], two["loss"]) for one, two in zip(alone, together, strict=True) if "loss" in one][:FIRST]
    assert len(pairs) == FIRST
    if result := os.environ.get("CAISSON_GPU_RESULTS"):
        with Path(result).open("a") as out:
            off = max(abs(two / one - 1) for one, two in pairs)
            out.write(
                json.dumps({"engine": strategy, "adapter": adapter, "largest difference of ten losses": off, "steps": len(together), "exact after kill": True})
                + "\n"
            )
    assert [two for _, two in pairs] == pytest.approx([one for one, _ in pairs], rel=TOLERANCE)
