"""The head: tiles, or all logits."""

from dataclasses import replace

import pytest
from known import LLAMA_8B

from entrypoint.plan.load import Load
from entrypoint.plan.logits import TILE, WHOLE, final_bytes, head_gradient, logits_bytes
from entrypoint.plan.model_shape import ModelShape, read_shape

LORA = Load("lora", 16, "bf16", "single", 1, 1, 8192, False, True)


def shape() -> ModelShape:
    found = read_shape(LLAMA_8B)
    assert found
    return found


def test_a_tile_is_of_one_size_however_many_tokens() -> None:
    tile = 2 * TILE[0] * TILE[1]
    assert tile == 256 * 2**20
    long, longer = (logits_bytes(shape(), replace(LORA, length=length), "forward") for length in (8192, 16384))
    assert longer - long < 8192 * shape().vocabulary, "far less than a byte a logit"
    assert logits_bytes(shape(), replace(LORA, length=16), "forward") < tile / 100


@pytest.mark.parametrize(("kind", "bytes_each"), WHOLE.items())
def test_whole_logits(kind: str, bytes_each: int) -> None:
    assert logits_bytes(shape(), replace(LORA, logits=kind), "backward") == bytes_each * 8192 * 128256


def test_nothing_without_a_head() -> None:
    assert logits_bytes(shape(), replace(LORA, logits="none"), "backward") == 0


def test_label_smoothing_holds_all_logits_beside_the_tiles() -> None:
    more = logits_bytes(shape(), replace(LORA, all_logits=True), "backward") - logits_bytes(shape(), LORA, "backward")
    assert more == 12 * 8192 * 128256


def test_backwards_the_head_s_input_has_a_gradient_in_fp32() -> None:
    assert logits_bytes(shape(), LORA, "backward") - logits_bytes(shape(), LORA, "forward") == 4 * 4096 * 8192


def test_only_a_trained_head_has_a_gradient() -> None:
    assert (head_gradient(shape(), LORA), head_gradient(shape(), replace(LORA, adapter="full"))) == (0, 4 * 128256 * 4096)
    assert final_bytes(shape(), replace(LORA, adapter="full")) > final_bytes(shape(), LORA)


@pytest.mark.parametrize(("precision", "way", "each"), [("fp32", "forward", 17), ("fp32", "backward", 33), ("bf16", "forward", 15), ("bf16", "backward", 31)])
def test_a_cpu_makes_copies_of_a_tile(precision: str, way: str, each: int) -> None:
    """Counted in trl.kernels.chunked_logprob of TRL 1.16 on a CPU."""
    load = replace(LORA, precision=precision, on_gpu=False)
    gpu = replace(load, on_gpu=True)
    width = 4 if precision == "fp32" else 2
    assert logits_bytes(shape(), load, way) - logits_bytes(shape(), gpu, way) == (each - width) * TILE[0] * TILE[1]  # type: ignore[arg-type]
