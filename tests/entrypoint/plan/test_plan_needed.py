"""Numbers of what would do."""

from dataclasses import replace

import pytest
from known import LLAMA_8B

from entrypoint.plan.load import GIB, Load
from entrypoint.plan.memory import training_bytes
from entrypoint.plan.model_shape import ModelShape, read_shape
from entrypoint.plan.needed import SHORTEST, fitting_count, fitting_kind, fitting_length, needed

LORA = Load("lora", 16, "bf16", "single", 1, 1, 8192, True, True)
LLAMA_70B = {**LLAMA_8B, "hidden_size": 8192, "intermediate_size": 28672, "num_attention_heads": 64, "num_hidden_layers": 80}


def shape(config: dict[str, object] = LLAMA_8B) -> ModelShape:
    found = read_shape(config)
    assert found
    return found


def gib(load: Load, of: ModelShape | None = None) -> float:
    return sum(training_bytes(of or shape(), load).values()) / GIB


def test_the_length_is_the_longest_that_fits() -> None:
    length = fitting_length(shape(), LORA, 20.0)
    assert length and length % SHORTEST == 0
    assert gib(replace(LORA, length=length)) <= 20.0 < gib(replace(LORA, length=length + SHORTEST))
    assert fitting_length(shape(), LORA, 80.0) is None, "its own length fits"
    assert fitting_length(shape(), LORA, 10.0) is None, "none does: the weights alone are more"


def test_the_fewest_accelerators() -> None:
    full = replace(LORA, adapter="full", length=2048)
    count, strategy = fitting_count(shape(), full, 0.9 * 79.6) or (0, "")
    assert count == 4
    assert gib(replace(full, strategy="zero3", ranks=2)) > 0.9 * 79.6
    assert gib(replace(full, strategy=strategy, ranks=count)) <= 0.9 * 79.6
    assert fitting_count(shape(), replace(LORA, adapter="full", optimizer="muon"), 71.0) is None, "muon wants whole matrices"


def test_the_smallest_larger_kind() -> None:
    kind = fitting_kind(shape(), replace(LORA, length=4096), 0.9)
    assert kind and kind.memory_gib and gib(replace(LORA, length=4096)) <= 0.9 * kind.memory_gib
    assert fitting_kind(shape(LLAMA_70B), replace(LORA, adapter="full"), 0.9) is None


def test_seventy_billion() -> None:
    said = needed(shape(LLAMA_70B), replace(LORA, length=4096), "NVIDIA H100 80GB HBM3", 79.6, 0.9)
    assert any(line.startswith("use adapter.kind: qlora") for line in said), said
    assert any(line.startswith("4 x NVIDIA H100 80GB HBM3 would do with lora and zero3") for line in said), said


def test_a_cpu_is_told_of_an_accelerator() -> None:
    said = needed(shape(), replace(LORA, on_gpu=False, precision="fp32", length=4096), "", 24.0, 0.9)
    assert any(line.startswith("1 x ") for line in said)


def test_no_kind_is_named_that_nothing_computes_on() -> None:
    """DPO of 7 billion weights would fit an MI300X first, QLoRA of 70 an Ascend 910B3: there are images of neither."""
    for gigabytes in range(1, 160, 4):
        kind = fitting_kind(shape(), replace(LORA, adapter="full", length=256 * gigabytes), 0.9)
        assert kind is None or kind.has_image


@pytest.mark.parametrize(
    ("row", "fields"), [(0, "data.max_length: rows"), (512, "data.pack_length: packs"), (8192, "data.max_length and data.pack_length: packs")]
)
def test_packs_do_not_shrink_with_their_rows(row: int, fields: str) -> None:
    said = needed(shape(), replace(LORA, row=row), "card", 22.0, 0.9)
    assert said[0].startswith(f"shorten {fields} of "), said


def test_an_adapter_has_to_fit_into_the_host_s_memory_too() -> None:
    """FSDP reads the whole model in each process at the start: 131 GiB eight times."""
    load = replace(LORA, adapter="full", strategy="fsdp", ranks=8, length=4096)
    assert any(line.startswith("use adapter.kind: lora,") for line in needed(shape(LLAMA_70B), load, "card", 79.6, 0.9, 2000.0))
    assert not any(line.startswith("use adapter.kind: lora,") for line in needed(shape(LLAMA_70B), load, "card", 79.6, 0.9, 1000.0))


def test_no_length_helps_a_host_that_is_too_small() -> None:
    load = replace(LORA, adapter="full", strategy="zero2", offload="cpu")
    assert needed(shape(), load, "card", 22.0, 0.9, 300.0)[0].startswith("shorten data.max_length")
    assert not any(line.startswith("shorten") for line in needed(shape(), load, "card", 22.0, 0.9, 64.0))


def test_where_no_one_accelerator_would_do_so_many_are_named() -> None:
    """Of a CPU, which says nothing of a kind; the rows of a step are shared by them too."""
    full = replace(LORA, adapter="full", length=4096, micro_batch=16, on_gpu=False, precision="fp32")
    found = needed(shape(LLAMA_70B), full, "", 15.5, 0.9)
    assert found == ["16 x H200 SXM would do with full and zero3"]
    assert needed(shape(LLAMA_70B), replace(full, on_gpu=True, precision="bf16"), "H100", 79.6, 0.9) == ["32 x H100 would do with full and zero3"]
