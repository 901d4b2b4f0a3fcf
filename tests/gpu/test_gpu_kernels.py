"""Liger's kernels compute what transformers' own code does: losses of a real training agree."""

import shutil

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")
pytest.importorskip("liger_kernel")

from resumed import outcome  # noqa: E402
from tiny import run, spec  # noqa: E402

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600), pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]

TRAIN = "{{epochs: 1, learning_rate: 1.0e-3, batch_tokens: 240, precision: {precision}, kernels: {kernels}}}"


@pytest.mark.parametrize(
    ("adapter", "precision", "apart"), [("{kind: full}", "fp32", 1e-4), ("{kind: lora, rank: 8}", "bf16", 2e-2), ("{kind: qlora, rank: 8}", "bf16", 2e-2)]
)
def test_losses_agree(sources, fetched, tmp_path, adapter, precision, apart):
    curves = {}
    for kernels in ("torch", "liger"):
        folder = tmp_path / kernels
        folder.mkdir()
        path = spec(folder, *sources, adapter=adapter, hardware="{strategy: single}", train=TRAIN.format(precision=precision, kernels=kernels))
        store = shutil.copytree(fetched, folder / "store")
        run("train", path, "--store", store, cwd=folder)
        curves[kernels] = [one["loss"] for one in outcome(store)[0] if "loss" in one]
    assert len(curves["torch"]) >= 5
    assert curves["liger"] == pytest.approx(curves["torch"], rel=apart)
    if precision == "bf16":
        assert curves["liger"] != curves["torch"], "other kernels round otherwise: the same numbers would mean the same kernels"
