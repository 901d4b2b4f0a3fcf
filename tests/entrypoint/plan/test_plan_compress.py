"""What llm-compressor is told for each kind, and which sizes a format cannot divide."""

from typing import Any

import pytest
from known import H100, TINY, facts, inputs, spec, why

from entrypoint.plan import plan_export
from schemas.errors import UsageError
from schemas.export_job import CompressJob, ExportJob

WIDE = TINY | {"hidden_size": 256, "intermediate_size": 512, "max_position_embeddings": 8192}


def compress(text: str, config: dict[str, Any] = WIDE) -> CompressJob:
    job = plan_export(spec(f"export: [{{{text}}}]"), facts(config=config), inputs()).steps[1].job
    assert isinstance(job, ExportJob) and job.compress
    return job.compress


@pytest.mark.parametrize(
    ("text", "job"),
    [
        ("kind: fp8", CompressJob(scheme="FP8_DYNAMIC")),
        ("kind: fp8, scheme: block", CompressJob(scheme="FP8_BLOCK")),
        ("kind: int8", CompressJob(scheme="W8A8", rows=512, length=2048, seed=17)),
        ("kind: awq, calibration_rows: 64", CompressJob(scheme="W4A16_ASYM", group_size=128, rows=64, length=2048, seed=17)),
        ("kind: gptq, group_size: 32, calibration_length: 100", CompressJob(scheme="W4A16", group_size=32, rows=512, length=100, seed=17)),
    ],
)
def test_told(text: str, job: CompressJob) -> None:
    assert compress(text) == job


@pytest.mark.parametrize(("hidden", "size"), [(256, 128), (576, 64), (96, 32)])
def test_the_largest_group_that_divides(hidden: int, size: int) -> None:
    """576 is SmolLM2-135M's."""
    assert compress("kind: gptq", WIDE | {"hidden_size": hidden}).group_size == size


@pytest.mark.parametrize(
    ("text", "hidden", "said"),
    [
        ("kind: awq, group_size: 128", 576, "group_size: 128, but the model's hidden_size 576 is no multiple of 128"),
        ("kind: gptq", 100, "group_size: 32, but the model's hidden_size 100 is no multiple of 32"),
        ("kind: fp8, scheme: block", 576, "scheme: block, but the model's hidden_size 576 is no multiple of 128"),
        ("kind: int8, calibration_length: 9000", 256, "9000 tokens, but the model has 8192 positions"),
    ],
)
def test_refused(text: str, hidden: int, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        compress(text, WIDE | {"hidden_size": hidden})


def test_rows_are_no_longer_than_the_positions() -> None:
    assert compress("kind: int8", WIDE | {"max_position_embeddings": 512}).length == 512


def test_what_a_machine_without_a_gpu_needs_is_said() -> None:
    text = "export: [{kind: gptq}]"
    assert "on the processor, hours" in why(plan_export(spec(text), facts(), inputs()), "export.0.device")[1]
    assert not [d for d in plan_export(spec(text), facts(H100), inputs()).decisions if d.field == "export.0.device"]


def test_the_default_number_of_rows_has_a_source() -> None:
    plan = plan_export(spec("export: [{kind: gptq}]"), facts(), inputs())
    assert why(plan, "export.0.calibration_rows") == ("512, of 512 tokens at most", "training rows, as prepared; 512 is llm-compressor's default")
