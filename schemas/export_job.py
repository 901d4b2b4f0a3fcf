"""What the leaf of the stage export is told."""

from typing import Literal

from schemas.base import Record


class ExportJob(Record):
    """Trained weights to a folder that any engine loads."""

    stage: Literal["export"] = "export"
    kind: Literal["safetensors"]
    dtype: Literal["bf16"]
    golden_tokens: int
    """Tokens of each greedy answer that must agree."""
