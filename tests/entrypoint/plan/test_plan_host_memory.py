"""Of all processes, in the host's memory and in files."""

from dataclasses import replace

from known import LLAMA_8B

from entrypoint.plan.host_memory import disk_bytes, host_bytes, serving_bytes_per_token
from entrypoint.plan.load import Load
from entrypoint.plan.model_shape import ModelShape, read_shape

FULL = Load("full", 16, "bf16", "zero3", 8, 1, 1024, True, True, offload="nvme")


def shape() -> ModelShape:
    found = read_shape(LLAMA_8B)
    assert found
    return found


def test_files_hold_twelve_bytes_and_a_copy() -> None:
    count = shape().parameters
    assert disk_bytes(shape(), FULL) == {
        "optimizer": 8 * count, "fp32 weights": 4 * count, "gradients": 4 * count, "checkpoint copy": 12 * count, "weights": 2 * count,
    }  # fmt: skip
    assert disk_bytes(shape(), replace(FULL, offload="cpu")) == {}


def test_masters_pass_through_memory() -> None:
    assert host_bytes(shape(), FULL)["fp32 weights, at the start"] == 4 * shape().parameters


def test_every_fsdp_process_reads_the_model() -> None:
    load = replace(FULL, strategy="fsdp", offload="none", adapter="lora")
    found = host_bytes(shape(), load)
    assert sum(found.values()) == 8 * 2 * shape().parameters


def test_caches_of_fewer_bits() -> None:
    assert serving_bytes_per_token(shape(), "fp8") == serving_bytes_per_token(shape()) / 2
