"""Killed and gone on with on a real GPU: bit for bit the same with deterministic kernels, in bf16 and in fp16 with its loss scale.

Straight from the checkout; skips itself without a GPU. Launched ranks are one a GPU, so one GPU shows the code path of each engine and no exchange.
"""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from resumed import assert_exact  # noqa: E402
from tiny import spec  # noqa: E402

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600), pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]

SETTINGS = "{{epochs: 3, learning_rate: 1.0e-2, batch_tokens: 240, deterministic: true, checkpoint: {{every: 2}}, precision: {precision}}}"
LORA, QLORA, FULL = "{kind: lora, rank: 8, dropout: 0.2}", "{kind: qlora, rank: 8, dropout: 0.2}", "{kind: full}"
KINDS = {
    "single-lora-bf16": (LORA, "single", "bf16"),
    "single-lora-fp16": (LORA, "single", "fp16"),
    "single-full-fp16": (FULL, "single", "fp16"),
    "single-qlora-bf16": (QLORA, "single", "bf16"),
    "single-full-bf16": (FULL, "single", "bf16"),
    "ddp-lora-bf16": (LORA, "ddp", "bf16"),
    "fsdp-full-bf16": (FULL, "fsdp", "bf16"),
    "fsdp-lora-bf16": (LORA, "fsdp", "bf16"),
    "zero2-full-bf16": (FULL, "zero2", "bf16"),
    "zero2-full-fp16": (FULL, "zero2", "fp16"),
    "zero3-full-bf16": (FULL, "zero3", "bf16"),
    "zero2-offload-full-bf16": (FULL, "zero2, offload: cpu", "bf16"),
    "zero3-offload-full-bf16": (FULL, "zero3, offload: cpu", "bf16"),
    "zero3-offload-lora-bf16": (LORA, "zero3, offload: cpu", "bf16"),
    "single-pissa-bf16": ("{kind: pissa, rank: 8}", "single", "bf16"),
    "fsdp-pissa-bf16": ("{kind: pissa, rank: 8}", "fsdp", "bf16"),
    "single-dora-bf16": ("{kind: dora, rank: 8}", "single", "bf16"),
    "fsdp-freeze-bf16": ("{kind: freeze, layers: 1}", "fsdp", "bf16"),
    "single-freeze-fp16": ("{kind: freeze, layers: 1}", "single", "fp16"),
    "single-adamw_8bit": (FULL, "single", "bf16, optimizer: adamw_8bit"),
    "single-paged_adamw": (LORA, "single", "bf16, optimizer: paged_adamw"),
    "single-paged_adamw_8bit": (FULL, "single", "bf16, optimizer: paged_adamw_8bit, neftune: 5"),
    "single-qlora-paged_adamw_8bit": (QLORA, "single", "bf16, optimizer: paged_adamw_8bit"),
    "single-lora-liger": (LORA, "single", "bf16, kernels: liger"),
    "fsdp-full-liger": (FULL, "fsdp", "bf16, kernels: liger"),
    "zero3-lora-liger": (LORA, "zero3", "bf16, kernels: liger"),
    "single-adafactor": (FULL, "single", "bf16, optimizer: adafactor"),
    "ddp-muon": (FULL, "ddp", "bf16, optimizer: muon, schedule: wsd"),
}


@pytest.mark.parametrize(("adapter", "strategy", "precision"), KINDS.values(), ids=KINDS)
def test_killed_in_mid_epoch_it_ends_bit_for_bit_the_same(sources, fetched, tmp_path, adapter, strategy, precision):
    path = spec(tmp_path, *sources, adapter=adapter, hardware=f"{{strategy: {strategy}}}", train=SETTINGS.format(precision=precision))
    curve = assert_exact(path, fetched, tmp_path)
    assert curve[-1]["loss" if "loss" in curve[-1] else "eval_loss"] < curve[0]["loss"]


@pytest.mark.parametrize(
    ("adapter", "strategy", "precision"), [(LORA, "single", "bf16"), (FULL, "single", "bf16"), (QLORA, "ddp", "bf16"), (FULL, "zero2", "fp16")]
)
def test_packed_it_ends_bit_for_bit_the_same(sources, fetched, tmp_path, adapter, strategy, precision):
    data = f"{{train: [{{source: {sources[1]}}}], validation: 10%, packing: true, pack_length: 100}}"
    path = spec(tmp_path, *sources, adapter=adapter, hardware=f"{{strategy: {strategy}}}", train=SETTINGS.format(precision=precision), data=data)
    assert_exact(path, fetched, tmp_path)
