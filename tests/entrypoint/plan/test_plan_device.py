"""Arithmetic by machine: the spec's where the device has it, else the best that it has."""

import pytest
from known import H100, T4, card, facts, inputs, spec

from entrypoint.plan import plan_export, plan_serve, plan_train
from entrypoint.plan.accelerators import kinds
from entrypoint.plan.device import check_device, check_image, decide_precision, show_unlike
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


@pytest.mark.parametrize("cards", [(H100, T4), (T4, H100)], ids=["new first", "old first"])
def test_the_oldest_of_several_decides(cards: tuple[Accelerator, ...]) -> None:
    assert precision("auto", *cards)[0] == "fp16"
    with pytest.raises(MachineError, match="Tesla T4 has no bf16"):
        precision("bf16", *cards)


def test_capabilities_are_compared_as_numbers() -> None:
    assert facts(card(80, "10.0"), card(80, "9.0")).oldest.compute_capability == "9.0"


def test_unlike_gpus_are_said() -> None:
    (decision,) = show_unlike(facts(H100, T4, H100))
    assert (decision.field, decision.value) == ("GPUs", "2 kinds")
    assert "smallest memory, 14.6 GiB (Tesla T4), and the oldest compute capability, 7.5 (Tesla T4)" in decision.why
    assert show_unlike(facts(H100, H100)) == show_unlike(facts()) == []


def test_the_plan_of_training_shows_it() -> None:
    assert "GPUs" in {decision.field for decision in plan_train(spec("hardware: {strategy: ddp}"), facts(H100, T4), inputs()).decisions}


MI300X = Accelerator(kind="rocm", name="AMD Instinct MI300X", memory_gib=192, bf16=True)


@pytest.mark.parametrize("make", [plan_train, plan_export, plan_serve])
def test_devices_without_an_image_are_refused_by_name(make) -> None:
    machine = facts().model_copy(update={"device": "rocm", "accelerators": (MI300X,) * 8})
    with pytest.raises(MachineError) as caught:
        make(spec(""), machine, inputs())
    assert caught.value.exit_code == 3
    assert str(caught.value).startswith(
        "no image computes on AMD's ROCm (8 x AMD Instinct MI300X): there are images for cpu and cuda\n    plan for its processor: "
    )
    assert '"device": "cpu"' in str(caught.value)


@pytest.mark.parametrize(("device", "name"), [("npu", "Huawei's Ascend"), ("mps", "Apple's Metal")])
def test_the_other_devices(device: str, name: str) -> None:
    with pytest.raises(MachineError, match=f"no image computes on {name}: there are"):
        check_device(facts().model_copy(update={"device": device}))


def test_what_is_said_of_an_accelerator_goes_before_its_capability() -> None:
    assert (T4.has_bf16, T4.has_fp8, H100.has_bf16, H100.has_fp8) == (False, False, True, True)
    assert (card(24, "8.6").has_bf16, card(24, "8.6").has_fp8, card(24, "8.9").has_fp8) == (True, False, True)
    assert H100.model_copy(update={"bf16": False}).has_bf16 is False
    assert (MI300X.has_bf16, MI300X.has_fp8) == (True, False)


@pytest.mark.parametrize("capability", ["6.1", "7.0", "7.2"])
def test_gpus_older_than_the_kernels_of_the_images_are_refused(capability: str) -> None:
    with pytest.raises(MachineError, match=f"no kernels for card 16: it has compute capability {capability}, and CUDA 13.0 begins at 7.5"):
        check_image(facts(H100, card(16, capability)))
    assert check_image(facts(T4)) == "cuda"


def test_what_the_images_cannot_compute_on_is_no_way_out() -> None:
    kinds_of = {kind.name: kind.has_image for kind in kinds()}
    assert [name for name in kinds_of if "V100" in name and kinds_of[name]] == []
    assert kinds_of["T4"]
