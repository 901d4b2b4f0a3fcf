"""Memory and disk of exports."""

import pytest
from known import H100, LLAMA_8B, facts, inputs, spec, why

from entrypoint.plan import plan_export
from entrypoint.plan.export_memory import disk_of, merge_gib
from entrypoint.plan.model_shape import ModelShape, read_shape
from schemas.errors import MachineError
from schemas.facts import ModelFacts

BIG = read_shape(LLAMA_8B)
assert BIG
LARGE = LLAMA_8B | {"hidden_size": 8192, "intermediate_size": 28672, "num_attention_heads": 64, "num_hidden_layers": 80}
"""Of 70 billion weights."""


def test_a_merge_needs_about_the_same_for_any_number_of_layers() -> None:
    shape = read_shape(LARGE)
    assert shape and shape.parameters > 70e9
    assert merge_gib(BIG) < 6 and merge_gib(shape) < 9


def test_the_answers_need_the_whole_model() -> None:
    plan = plan_export(spec(), facts(config=LLAMA_8B), inputs())
    assert why(plan, "export memory, answering") == ("30.5 GiB", "the whole model in fp32, before and after: its answers are compared")


def test_in_bf16_where_fp32_does_not_fit() -> None:
    assert why(plan_export(spec(), facts(config=LLAMA_8B, ram_gib=24.0), inputs()), "export memory, answering")[0] == "15.6 GiB"


def test_a_machine_that_cannot_hold_it_is_told_so() -> None:
    with pytest.raises(MachineError, match=r"answering the golden prompts takes 132\.\d GiB, this machine has 64\.0 GiB"):
        plan_export(spec(), facts(config=LARGE), inputs())


def test_a_gpu_that_can_is_enough() -> None:
    assert plan_export(spec(), facts(H100, config=LLAMA_8B, ram_gib=8.0), inputs()).steps


@pytest.mark.parametrize(("kind", "gigabytes"), [("bf16", 16.06), ("fp8", 9.1), ("gptq", 5.8)])
def test_bytes_on_the_disk(kind: str, gigabytes: float) -> None:
    assert disk_of(BIG, kind) / 1e9 == pytest.approx(gigabytes, rel=0.02)


def test_experts_by_the_size_of_their_files() -> None:
    """Half of them in fp32: a merge of the whole model may be needed."""
    known = ModelFacts(config={"num_experts": 128, "dtype": "bfloat16"}, stored_bytes=60 * 10**9)
    plan = plan_export(spec(), facts(models={"/models/m": known}), inputs())
    assert why(plan, "export memory, merging")[0] == "up to 112.4 GiB"
    assert why(plan, "export memory, answering")[0] == "56.5 GiB"


def test_not_known_before_the_config_is() -> None:
    none: ModelShape | None = None
    assert disk_of(none, "fp8") == 0
