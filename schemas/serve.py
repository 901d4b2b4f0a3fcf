"""The section `serve` of a spec."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Auto, Section
from schemas.export import EntryName


class Serve(Section):
    """The OpenAI-compatible server."""

    export: Auto[EntryName] = None
    """Which entry of `export` is served, by its name, or by its kind where it has none. auto: the first that is a model."""

    engine: Auto[Literal["vllm"]] = None
    """The inference engine. auto: vllm, the one of this version."""

    max_length: Auto[Annotated[int, Field(ge=16, le=1_048_576)]] = None
    """Longest conversation in tokens, answer included. auto: the model's positions, less where memory is short."""

    memory_share: Auto[Annotated[float, Field(gt=0, le=0.98)]] = None
    """Share of each accelerator's memory that the engine may take. auto: 0.9."""
