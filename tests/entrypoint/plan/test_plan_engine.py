"""How ranks start."""

from dataclasses import replace

import pytest
from known import H100, facts

from entrypoint.plan.engine import environment, launcher
from entrypoint.plan.load import Load

LOAD = Load(adapter="lora", rank=16, precision="bf16", strategy="single", ranks=1, micro_batch=1, length=128, gradient_checkpointing=False, on_gpu=True)


def test_single_is_plain_python() -> None:
    assert launcher(LOAD, 300) == ("python", "-m")


@pytest.mark.parametrize(("strategy", "ranks"), [("ddp", 8), ("zero3", 2), ("zero2", 1), ("ddp", 1)])
def test_others_go_through_the_launcher(strategy: str, ranks: int) -> None:
    """Even one rank: DeepSpeed and DDP look for torchrun's variables."""
    assert launcher(replace(LOAD, strategy=strategy, ranks=ranks), 300) == ("python", "-m", "entrypoint.run.launch", f"--ranks={ranks}", "--grace=270")


@pytest.mark.parametrize(("strategy", "told"), [("single", False), ("ddp", True), ("zero3", True)])
def test_ranks_speak_over_loopback(strategy: str, told: bool) -> None:
    """train has no network: `lo` is all that there is."""
    found = environment(facts(), replace(LOAD, strategy=strategy, ranks=2))
    assert {k: v for k, v in found.items() if k.endswith("_IFNAME")} == ({"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"} if told else {})


@pytest.mark.parametrize(("gpus", "strategy", "told"), [(8, "single", True), (1, "single", False), (8, "ddp", False)])
def test_a_single_process_sees_one_gpu(gpus: int, strategy: str, told: bool) -> None:
    found = environment(facts(*(H100,) * gpus), replace(LOAD, strategy=strategy))
    assert found.get("CUDA_VISIBLE_DEVICES") == ("0" if told else None)


@pytest.mark.parametrize(("cores", "ranks", "threads"), [(8, 1, "8"), (2, 2, "1"), (1, 2, "1"), (96, 1, "16"), (96, 8, "12"), (7, 2, "3")])
def test_threads(cores: int, ranks: int, threads: str) -> None:
    assert environment(facts(cpu_cores=cores), replace(LOAD, ranks=ranks))["OMP_NUM_THREADS"] == threads


@pytest.mark.parametrize(("strategy", "on_gpu", "told"), [("zero2", False, True), ("zero2", True, False), ("ddp", False, False), ("single", False, False)])
def test_deepspeed_is_told_of_a_cpu(strategy: str, on_gpu: bool, told: bool) -> None:
    assert ("DS_ACCELERATOR" in environment(facts(), replace(LOAD, strategy=strategy, on_gpu=on_gpu))) is told


def test_allocator_is_told_of_a_gpu() -> None:
    assert environment(facts(H100), LOAD)["PYTORCH_CUDA_ALLOC_CONF"] == "expandable_segments:True"
    assert "PYTORCH_CUDA_ALLOC_CONF" not in environment(facts(), replace(LOAD, on_gpu=False))
