"""Sections `export`, `serve` and `evaluate`: what becomes of the trained weights."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Auto, Many, Section


class Export(Section):
    """One form in which the tuned model is written."""

    kind: Literal["safetensors"]
    """safetensors: merged bf16 weights, tokenizer and training template in one folder that any engine loads."""


class Serve(Section):
    """The OpenAI-compatible server."""

    engine: Auto[Literal["vllm"]] = None
    """The inference engine. auto: vllm, the one of this version."""

    max_length: Auto[Annotated[int, Field(ge=16, le=1_048_576)]] = None
    """Longest conversation in tokens, answer included. auto: the model's positions, less where memory is short."""

    memory_share: Auto[Annotated[float, Field(gt=0, le=0.98)]] = None
    """Share of each accelerator's memory that the engine may take. auto: 0.9."""


class Evaluate(Section):
    """Suites against the served model."""

    suites: Many[str] = ()
    """Benchmarks and own suites."""

    gate: dict[str, str] = Field(default_factory=dict)
    """Conditions that must hold before a model is promoted."""
