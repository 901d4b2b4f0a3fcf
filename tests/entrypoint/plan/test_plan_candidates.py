"""What a spec leaves open, the preferred first."""

import pytest
from known import H100, LLAMA_8B, T4, facts, spec

from entrypoint.plan.batch import Rows
from entrypoint.plan.candidates import CPU_RANKS, candidates, has_flash, recompute
from schemas.errors import UsageError

ROWS = Rows(1000, 500.0, 2048, assumed=False)


def test_all_that_is_open() -> None:
    found = candidates(spec(), facts(H100, H100, config=LLAMA_8B), ROWS, "bf16")
    assert [(one.adapter, one.strategy, one.gradient_checkpointing) for one in found[:3]] == [
        ("lora", "ddp", False),
        ("lora", "ddp", "selective"),
        ("lora", "ddp", True),
    ]
    assert {(one.adapter, one.strategy) for one in found} == {("lora", "ddp"), ("lora", "zero2"), ("lora", "zero3"), ("qlora", "ddp"), ("qlora", "zero2")}


def test_every_second_layer_where_all_are_alike() -> None:
    known = facts(H100, config=LLAMA_8B)
    assert recompute(spec(), known, "lora") == [False, "selective", True]
    assert recompute(spec(), known, "freeze") == [False, True]
    assert recompute(spec(), facts(H100, config={**LLAMA_8B, "num_hidden_layers": 1}), "lora") == [False, True]
    assert recompute(spec(), facts(H100, config={"model_type": "odd"}), "lora") == [False, True], "nobody knows its layers"
    assert recompute(spec("train: {gradient_checkpointing: selective}"), known, "freeze") == ["selective"]


def test_what_the_spec_says_is_kept() -> None:
    text = "adapter: {kind: lora, rank: 8, dropout: 0.1}\nhardware: {strategy: zero3}\ntrain: {gradient_checkpointing: true, validation: {batch_rows: 4}}"
    (only,) = candidates(spec(text), facts(H100, config=LLAMA_8B), ROWS, "bf16")
    assert (only.strategy, only.rank, only.gradient_checkpointing, only.dropout, only.validation_rows) == ("zero3", 8, True, True, 4)


def test_processes_on_a_cpu() -> None:
    (first, *_) = candidates(spec("hardware: {strategy: ddp}"), facts(), ROWS, "fp32")
    assert (first.ranks, first.on_gpu) == (CPU_RANKS, False)


def test_fsdp_scales_no_losses() -> None:
    with pytest.raises(UsageError, match="fp16"):
        candidates(spec("hardware: {strategy: fsdp}"), facts(H100), ROWS, "fp16")


def test_flash_attention_came_with_ampere() -> None:
    assert has_flash(facts()) and has_flash(facts(H100))
    assert not has_flash(facts(T4)) and not has_flash(facts(H100, T4))
    (first, *_) = candidates(spec(), facts(T4, config=LLAMA_8B), ROWS, "fp16")
    assert not first.flash
