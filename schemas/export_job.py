"""What the leaves of the stage export are told."""

from typing import Literal

from schemas.base import Record

ExportKind = Literal["safetensors", "adapter", "fp8", "int8", "awq", "gptq"]


class CompressJob(Record):
    """How weights are written in fewer bits, for llm-compressor."""

    scheme: Literal["FP8_DYNAMIC", "FP8_BLOCK", "W8A8", "W4A16", "W4A16_ASYM"]
    """llm-compressor's name of it."""

    group_size: int | None = None
    """Weights that share a scale."""

    rows: int = 0
    """Calibration rows; 0: none are needed."""

    length: int = 0
    """Tokens of each of them at most."""

    seed: int = 0
    """Of the choice of rows."""


class ExportJob(Record):
    """Trained weights, or an earlier export, to a folder that an engine loads."""

    stage: Literal["export"] = "export"
    kind: ExportKind
    dtype: Literal["bf16"]
    golden_tokens: int
    """Tokens of each greedy answer that must agree."""

    trained_on: Literal["full", "nf4"] = "full"
    """In what form the base was while the adapter was trained."""

    precision: Literal["bf16", "fp16", "fp32"] = "fp32"
    """In what the adapter was trained on NF4 weights; without meaning otherwise."""

    merge_into: Literal["full", "nf4", "measured"] = "full"
    """measured: whichever of the two answers nearer to what was trained."""

    base: str = ""
    """Content digest of the base that was trained on; empty: not known, as in a plan before training."""

    compress: CompressJob | None = None
