"""Tensors that autograd keeps of one layer, counted by hand."""

from dataclasses import replace

import pytest
from known import LLAMA_8B

from entrypoint.plan.activations import layer_bytes, mask_bytes, moving_bytes, moving_scores, scores_bytes, stream_bytes
from entrypoint.plan.load import Load
from entrypoint.plan.model_shape import ModelShape, read_shape

LORA = Load("lora", 16, "bf16", "single", 1, 2, 1024, False, True)
H, M, Q, K, HEADS = 4096, 14336, 4096, 1024, 32


def shape(**other: object) -> ModelShape:
    found = read_shape({**LLAMA_8B, **other})
    assert found
    return found


def test_lora_under_autocast() -> None:
    norms = 2 * (4 * H + 4)
    copies = 5 * 2 * H + 2 * Q + 2 * M + 7 * 2 * 16
    attention = 2 * (2 * Q + 2 * K) + 4 * HEADS
    assert layer_bytes(shape(), LORA) == norms + copies + attention + 3 * 2 * M
    assert stream_bytes(shape(), LORA) == 2 * H


def test_full_weights_under_autocast() -> None:
    load = replace(LORA, adapter="full")
    norms = 2 * (4 * H + 4) + 2 * 4 * H
    assert layer_bytes(shape(), load) == norms + 5 * 2 * H + 2 * M + 2 * (2 * Q + 2 * K) + 4 * HEADS + 3 * 2 * M
    assert stream_bytes(shape(), load) == 4 * H, "fp32 embeddings begin an fp32 stream"
    assert stream_bytes(shape(), replace(load, strategy="zero2")) == 2 * H, "DeepSpeed casts the whole model"


def test_adapters_in_16_bits_share_their_inputs() -> None:
    less = layer_bytes(shape(), LORA) - layer_bytes(shape(), replace(LORA, adapter="qlora"))
    assert less == 3 * 2 * H + 2 * Q, "one input for q, k and v, one for gate and up; o's is attention's output"


def test_dropout_keeps_a_mask() -> None:
    assert layer_bytes(shape(), replace(LORA, dropout=True)) - layer_bytes(shape(), LORA) == 5 * H + Q + M


def test_padded_rows_want_keys_of_every_head_and_a_mask() -> None:
    padded = replace(LORA, padded=True)
    assert layer_bytes(shape(), padded) - layer_bytes(shape(), LORA) == 2 * 2 * (Q - K)
    assert (mask_bytes(padded), mask_bytes(LORA)) == (2 * 2 * 1024 * 1024, 0)


@pytest.mark.parametrize(("adapter", "each"), [("lora", 4), ("full", 6)])
def test_norms_of_heads(adapter: str, each: int) -> None:
    load = replace(LORA, adapter=adapter)
    more = layer_bytes(shape(model_type="qwen3"), load) - layer_bytes(shape(model_type="llama"), load)
    assert more == each * (Q + K) + 4 * (HEADS + 8)


def test_a_backward_pass_takes_more_where_adapters_are_cast() -> None:
    assert moving_bytes(shape(), LORA) > moving_bytes(shape(), replace(LORA, adapter="qlora"))


def test_scores_are_kept_where_there_is_no_flash_attention() -> None:
    old = replace(LORA, flash=False)
    assert scores_bytes(shape(), old) == 4 * HEADS * 2 * 1024 * 1024
    assert scores_bytes(shape(), LORA) == 0
    assert scores_bytes(shape(), replace(old, padded=True)) == 0, "the memory-efficient kernel"
    packed = replace(old, row=256)
    assert scores_bytes(shape(), packed) == scores_bytes(shape(), old) / 4, "rows of a pack do not see each other"
    assert (moving_scores(shape(), old), moving_scores(shape(), packed)) == (8 * HEADS * 2 * 1024**2, 8 * HEADS * 256**2)
    assert scores_bytes(shape(num_key_value_heads=HEADS), old) == 0
