"""A setting, and what was measured of it."""

from schemas.history import Measured, Setting

SETTING = Setting(
    config="0" * 64, device="cpu, 2 thread(s)", method="sft", adapter="lora", adapter_rank=16, strategy="single", ranks=1, precision="fp32", optimizer="adamw",
    gradient_checkpointing=False, micro_batch=4, accumulation=2, length=512,
)  # fmt: skip


def measured(seconds: float) -> Measured:
    """With so many seconds a step."""
    return Measured(
        at=seconds, setting=SETTING, steps=20, step_seconds=seconds, tokens_per_second=100.0, peak_bytes=1e9, program="0.1.0", versions={"torch": "2.13.0"}
    )
