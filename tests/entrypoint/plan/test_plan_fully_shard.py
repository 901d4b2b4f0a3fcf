"""FSDP's settings, and what it does not go with."""

import pytest
from known import H100, T4, facts, inputs, spec

from entrypoint.plan import plan_train
from schemas.errors import MachineError, UsageError


def test_settings_have_reasons_and_reach_the_job() -> None:
    plan = plan_train(spec("hardware: {strategy: fsdp}\n"), facts(H100, H100), inputs())
    job = plan.steps[0].job
    assert job.stage == "train"
    assert job.engine == {"wrap": "each decoder layer", "reshard_after_forward": True, "param_dtype": "bf16", "reduce_dtype": "fp32"}
    assert all(setting.why for setting in plan.engine)
    assert job.ranks == 2
    assert "entrypoint.run.launch" in plan.steps[0].argv


def test_each_process_reads_the_whole_model_once() -> None:
    from known import LLAMA_8B

    plan = plan_train(spec("adapter: {kind: lora}\nhardware: {strategy: fsdp}\n"), facts(*(H100,) * 8, config=LLAMA_8B, ram_gib=500.0), inputs())
    host = next(d for d in plan.decisions if d.field == "host memory")
    assert "whole weights, at the start" in host.why
    with pytest.raises(MachineError, match=r"needs .* GiB of the host's memory"):
        plan_train(spec("adapter: {kind: lora}\nhardware: {strategy: fsdp}\n"), facts(*(H100,) * 8, config=LLAMA_8B, ram_gib=64.0), inputs())


@pytest.mark.parametrize(
    ("text", "card", "what"),
    [
        ("adapter: {kind: qlora}\nhardware: {strategy: fsdp}\n", H100, "fsdp cannot shard 4-bit weights"),
        ("hardware: {strategy: fsdp}\n", T4, "fsdp does not scale losses, which fp16 needs"),
        ("hardware: {strategy: fsdp, offload: cpu}\n", H100, "offload: cpu is DeepSpeed's, so fsdp does not go with it"),
    ],
)
def test_what_it_does_not_go_with(text: str, card: object, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        plan_train(spec(text), facts(card, card), inputs())  # type: ignore[arg-type]
