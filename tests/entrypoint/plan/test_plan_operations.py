"""Operations of a token against the closed formulas: forward F = 2P + A, full 3F, LoRA about two thirds of it."""

from dataclasses import replace

import pytest
from known import LLAMA_8B

from entrypoint.plan.load import Load
from entrypoint.plan.model_shape import ModelShape, read_shape
from entrypoint.plan.operations import NOTHING, backward, forward, head, recomputed

LORA = Load("lora", 16, "bf16", "single", 1, 1, 4096, False, True, logits="plain")


def shape() -> ModelShape:
    found = read_shape(LLAMA_8B)
    assert found
    return found


def total(load: Load) -> float:
    """GFLOP a token; attention's backward pass as two products a product, as the closed formula has it."""
    there, back, loss, again = forward(shape(), load), backward(shape(), load), head(shape(), load), recomputed(shape(), load)
    attention = there.attention + again.attention + back.attention * 2 / 2.5
    return (there.products + back.products + loss.products + again.products + attention) / 1e9


@pytest.mark.parametrize(
    ("changes", "gflop"),
    [
        ({"adapter": "full"}, 48.3),
        ({}, 33.5),
        ({"length": 8192}, 36.7),
        ({"adapter": "full", "length": 2048}, 46.6),
    ],
)
def test_against_closed_formulas(changes: dict[str, object], gflop: float) -> None:
    assert total(replace(LORA, **changes)) == pytest.approx(gflop, rel=0.01)


def test_recomputation_is_a_forward_pass_of_the_layers() -> None:
    assert recomputed(shape(), LORA) == NOTHING
    again = replace(LORA, gradient_checkpointing=True)
    assert recomputed(shape(), again) == forward(shape(), again)
    assert recomputed(shape(), replace(LORA, gradient_checkpointing="selective")) == forward(shape(), again) * 0.5


def test_tiles_make_logits_twice() -> None:
    once, twice = head(shape(), LORA), head(shape(), replace(LORA, logits="chunks"))
    assert twice.products - once.products == 2 * 128256 * 4096
    assert head(shape(), replace(LORA, logits="none")) == NOTHING


def test_freeze_goes_back_only_as_far_as_it_trains() -> None:
    assert backward(shape(), replace(LORA, adapter="freeze", layers=2)).products == pytest.approx(
        backward(shape(), replace(LORA, adapter="full")).products / 16
    )


def test_casts_and_norms_of_heads_cost_traffic() -> None:
    assert forward(shape(), LORA).traffic > forward(shape(), replace(LORA, adapter="qlora")).traffic
    assert forward(replace(shape(), head_norms=True), LORA).traffic > forward(shape(), LORA).traffic
