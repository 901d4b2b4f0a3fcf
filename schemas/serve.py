"""The section `serve` of a spec."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Auto, Section


class Serve(Section):
    """The OpenAI-compatible server."""

    engine: Auto[Literal["vllm"]] = None
    """The inference engine. auto: vllm, the one of this version."""

    max_length: Auto[Annotated[int, Field(ge=16, le=1_048_576)]] = None
    """Longest conversation in tokens, answer included. auto: the model's positions, less where memory is short."""

    memory_share: Auto[Annotated[float, Field(gt=0, le=0.98)]] = None
    """Share of each accelerator's memory that the engine may take. auto: 0.9."""

    parity: Literal["refuse", "warn"] = "refuse"
    """What happens to an export that does not read and answer the golden prompts as the tuned model did. warn: it is said, and served."""

    promote: Literal["auto", "manual"] = "auto"
    """Whether a new export of this spec is served as soon as it is sealed. manual: only once `caisson promote` says so; the first one always is."""

    keep: Annotated[int, Field(ge=1, le=100)] = 3
    """How many exports that were served before stay for `caisson rollback`. Older ones go with `caisson exports --prune`, never by themselves."""

    handover: Auto[Literal["overlap", "restart"]] = None
    """How a new export takes over. overlap: its engine starts beside the old one, which answers until the new one has passed its gates. restart: the
    old one stops first, and comes back if the new one fails. auto: overlap where memory holds both."""
