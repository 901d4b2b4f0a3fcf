"""What is held: who casts, who shares, what moves."""

from dataclasses import replace

import pytest
from known import LLAMA_8B

from entrypoint.plan.load import Load, base_bytes, optimizer_bytes, trained_layers, trained_weights, trained_width
from entrypoint.plan.model_shape import ModelShape, read_shape

LORA = Load("lora", 16, "bf16", "single", 1, 2, 1024, False, True, sequences=2)


def shape() -> ModelShape:
    found = read_shape(LLAMA_8B)
    assert found
    return found


def test_tokens_count_both_answers_of_a_pair() -> None:
    assert LORA.tokens == 2 * 2 * 1024


@pytest.mark.parametrize(
    ("changes", "casts", "width"),
    [
        ({}, True, 4),
        ({"precision": "fp32"}, False, 4),
        ({"adapter": "qlora"}, False, 2),
        ({"strategy": "zero2"}, False, 2),
        ({"strategy": "fsdp"}, True, 4),
        ({"adapter": "full"}, True, 4),
    ],
)
def test_who_casts(changes: dict[str, str], casts: bool, width: int) -> None:
    load = replace(LORA, **changes)
    assert (load.casts, trained_width(load)) == (casts, width)


@pytest.mark.parametrize(
    ("strategy", "shards"),
    [("single", (1, 1, 1)), ("ddp", (1, 1, 1)), ("zero1", (1, 1, 8)), ("zero2", (1, 8, 8)), ("zero3", (8, 8, 8)), ("fsdp", (8, 8, 8))],
)
def test_what_is_divided(strategy: str, shards: tuple[int, int, int]) -> None:
    load = replace(LORA, strategy=strategy, ranks=8)
    assert (load.shards("weights"), load.shards("gradients"), load.shards("optimizer")) == shards


def test_moments_follow_the_type_of_the_weights() -> None:
    trained = trained_weights(shape(), LORA)
    assert optimizer_bytes(shape(), LORA) == 8 * trained
    assert optimizer_bytes(shape(), replace(LORA, adapter="qlora")) == 4 * trained, "TRL keeps adapters of a 4-bit base in bf16"


def test_freeze_keeps_only_its_layers() -> None:
    load = replace(LORA, adapter="freeze", layers=2)
    assert trained_layers(shape(), load) == 2
    assert trained_layers(shape(), LORA) == 32
    trained = trained_weights(shape(), load)
    assert base_bytes(shape(), load) == 4 * trained + 2 * (shape().parameters - trained)
    assert base_bytes(shape(), replace(load, adapter="full", strategy="zero2")) == 2 * shape().parameters
