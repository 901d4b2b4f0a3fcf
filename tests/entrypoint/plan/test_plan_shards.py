"""Shares with their padding; against what engines really hold: tests/entrypoint/run/test_shards_held.py."""

from dataclasses import replace

import pytest
from known import LLAMA_8B

from entrypoint.plan.load import Load
from entrypoint.plan.model_shape import ModelShape, read_shape
from entrypoint.plan.shards import flat_elements, held_elements, share, tensor_sizes

FULL = Load("full", 16, "bf16", "zero3", 8, 1, 1024, False, True)


def shape(**other: object) -> ModelShape:
    found = read_shape({**LLAMA_8B, **other})
    assert found
    return found


@pytest.mark.parametrize("other", [{}, {"tie_word_embeddings": True}])
def test_all_of_it_is_counted(other: dict[str, bool]) -> None:
    assert sum(rows * columns * count for rows, columns, count in tensor_sizes(shape(**other))) == shape(**other).parameters


def test_where_all_divides_shares_are_equal() -> None:
    assert held_elements(shape(), "zero3", 8) == held_elements(shape(), "fsdp", 8) == shape().parameters // 8
    assert share(shape(), FULL) == 1 / 8


@pytest.mark.parametrize("strategy", ["zero1", "zero2", "zero3", "fsdp"])
@pytest.mark.parametrize("ranks", [3, 7])
def test_padding_is_small_and_never_missing(strategy: str, ranks: int) -> None:
    odd = shape(vocab_size=128257, intermediate_size=14337)
    held = held_elements(odd, strategy, ranks)
    assert 0 <= held * ranks - odd.parameters < 0.001 * odd.parameters
    assert share(odd, replace(FULL, strategy=strategy, ranks=ranks)) * odd.parameters == pytest.approx(held)


def test_fsdp_cuts_rows_and_zero3_a_line() -> None:
    odd = shape(vocab_size=128257)
    assert held_elements(odd, "fsdp", 2) - held_elements(odd, "zero3", 2) == 2 * 4096 // 2


def test_a_flat_buffer_is_aligned() -> None:
    assert flat_elements(shape(vocab_size=128257), 3) % 6 == 0


def test_adapters_are_shared_equally() -> None:
    assert share(shape(), replace(FULL, adapter="lora", ranks=3)) == 1 / 3
