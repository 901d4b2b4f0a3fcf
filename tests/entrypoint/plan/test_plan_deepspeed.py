"""What DeepSpeed is told, each value with a reason."""

import json
from dataclasses import replace
from typing import Any

import pytest

from entrypoint.plan.deepspeed import LIVE, deepspeed, nested
from entrypoint.plan.load import Load
from schemas.plan import Setting

LOAD = Load(adapter="lora", rank=16, precision="bf16", strategy="zero2", ranks=2, micro_batch=1, length=128, gradient_checkpointing=False, on_gpu=True)


def told(strategy: str, **other: Any) -> dict[str, Any]:
    return nested(deepspeed(replace(LOAD, strategy=strategy, **other), 4, 3, 0.5))


@pytest.mark.parametrize("strategy", ["single", "ddp"])
def test_nothing_for_plain_torch(strategy: str) -> None:
    assert told(strategy) == {}


@pytest.mark.parametrize(("strategy", "stage"), [("zero1", 1), ("zero2", 2), ("zero3", 3)])
def test_stages(strategy: str, stage: int) -> None:
    found = told(strategy)
    assert found["zero_optimization"]["stage"] == stage
    assert ("stage3_gather_16bit_weights_on_model_save" in found["zero_optimization"]) is (stage == 3)
    assert (found["train_micro_batch_size_per_gpu"], found["gradient_accumulation_steps"], found["gradient_clipping"]) == (4, 3, 0.5)
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp32"])
def test_one_precision(precision: str) -> None:
    found = told("zero2", precision=precision)
    assert [name for name in ("bf16", "fp16") if found[name]["enabled"]] == ([precision] if precision != "fp32" else [])


@pytest.mark.parametrize(("strategy", "moved"), [("zero1", ["optimizer"]), ("zero2", ["optimizer"]), ("zero3", ["optimizer", "param"])])
def test_offload(strategy: str, moved: list[str]) -> None:
    found = told(strategy, offload="cpu")
    assert [part for part in ("optimizer", "param") if f"offload_{part}" in found["zero_optimization"]] == moved
    assert found["zero_optimization"]["offload_optimizer"] == {"device": "cpu", "pin_memory": False}
    assert found["zero_force_ds_cpu_optimizer"] is False, "its own would be compiled when it runs"
    assert "offload_optimizer" not in told(strategy)["zero_optimization"] and "zero_force_ds_cpu_optimizer" not in told(strategy)


@pytest.mark.parametrize("strategy", ["zero1", "zero2", "zero3"])
def test_files_are_memory_to_it(strategy: str) -> None:
    found, memory = told(strategy, offload="nvme"), told(strategy, offload="cpu")
    assert found == memory
    settings = deepspeed(replace(LOAD, strategy=strategy, offload="nvme"), 1, 1, 1.0, pin=True)
    assert [s.value for s in settings if s.path.endswith("pin_memory")] == [False] * (2 if strategy == "zero3" else 1)
    why = next(s.why for s in settings if s.path.endswith("offload_optimizer.device"))
    assert "lie in files" in why and "docs/decisions/005-offload.md" in why


@pytest.mark.parametrize(("given", "live"), [(12_345, 12_345), (None, LIVE)])
def test_gathered_weights_are_those_that_memory_counts_with(given: int | None, live: int) -> None:
    found = nested(deepspeed(replace(LOAD, strategy="zero3"), 1, 1, 1.0, live=given))["zero_optimization"]
    assert (found["stage3_max_live_parameters"], found["stage3_max_reuse_distance"]) == (live, live)


@pytest.mark.parametrize("strategy", ["zero1", "zero2", "zero3"])
@pytest.mark.parametrize("offload", ["none", "cpu"])
@pytest.mark.parametrize("pin", [False, True])
def test_each_value_has_a_reason_and_one_place(strategy: str, offload: str, pin: bool) -> None:
    settings = deepspeed(replace(LOAD, strategy=strategy, offload=offload), 1, 1, 1.0, pin=pin)
    assert all(setting.why for setting in settings)
    assert len({setting.path for setting in settings}) == len(settings)
    assert [s for s in settings if s.path.endswith("pin_memory") and s.value is not pin] == []


def test_nesting_keeps_types() -> None:
    settings = (Setting(path="a.b", value=True, why="x"), Setting(path="a.c.d", value=1, why="x"), Setting(path="e", value=1.0, why="x"))
    assert json.dumps(nested(settings)) == '{"a": {"b": true, "c": {"d": 1}}, "e": 1.0}'
    assert json.dumps(nested(tuple(Setting.model_validate_json(s.model_dump_json()) for s in settings))) == json.dumps(nested(settings))
