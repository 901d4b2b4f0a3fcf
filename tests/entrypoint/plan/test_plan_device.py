"""Arithmetic by machine: the spec's where the device has it, else the best that it has."""

import pytest
from known import H100, T4, card, facts, spec

from entrypoint.plan.device import check_device, decide_precision
from schemas.errors import MachineError
from schemas.facts import Accelerator
from schemas.plan import Decision


def precision(wanted: str, *accelerators: Accelerator) -> tuple[str, str]:
    decisions: list[Decision] = []
    value = decide_precision(spec(f"train: {{precision: {wanted}}}"), facts(*accelerators), decisions)
    (decision,) = decisions
    assert (decision.field, decision.value) == ("train.precision", value)
    return value, decision.why


@pytest.mark.parametrize(
    ("wanted", "accelerators", "value", "reason"),
    [
        ("auto", (), "fp32", "CPU"),
        ("auto", (H100,), "bf16", "has bf16 matrix units"),
        ("auto", (card(24, "8.0"),), "bf16", "has bf16 matrix units"),
        ("auto", (T4,), "fp16", "Tesla T4 has no bf16"),
        ("auto", (card(16, "7.0"),), "fp16", "no bf16"),
        ("auto", (card(180, "10.0"),), "bf16", "has bf16 matrix units"),
        ("fp32", (H100,), "fp32", "set in the spec"),
        ("fp16", (H100,), "fp16", "set in the spec"),
        ("fp16", (T4,), "fp16", "set in the spec"),
        ("bf16", (H100,), "bf16", "set in the spec"),
        ("bf16", (), "bf16", "set in the spec"),
    ],
)
def test_precision(wanted: str, accelerators: tuple[Accelerator, ...], value: str, reason: str) -> None:
    found, why = precision(wanted, *accelerators)
    assert found == value
    assert reason in why


def test_bf16_is_refused_on_an_old_card() -> None:
    with pytest.raises(MachineError) as caught:
        precision("bf16", T4)
    assert str(caught.value) == "train.precision: Tesla T4 has no bf16 (compute capability 7.5, 8.0 needed)\n    write precision: fp16 or auto"


def test_fp16_is_refused_on_a_cpu() -> None:
    with pytest.raises(MachineError) as caught:
        precision("fp16")
    assert str(caught.value) == "train.precision: a CPU does not train in fp16\n    write precision: fp32 or auto"


def test_cuda_image_without_a_gpu() -> None:
    with pytest.raises(MachineError, match="the CUDA image sees no GPU") as caught:
        check_device(facts(device="cuda"))
    assert "ACCELERATOR=cpu" in str(caught.value)
    check_device(facts())
    check_device(facts(H100))
