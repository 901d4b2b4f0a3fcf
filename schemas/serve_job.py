"""What the leaf of the stage serve is told."""

from typing import Literal

from schemas.base import Record
from schemas.serve import EngineName


class AdapterPlace(Record):
    """An adapter on the base model that is served, and where it is found."""

    name: str
    """The model name that requests ask for."""

    run: str | None = None
    """The run whose newest sealed adapter it is; None for a folder of the user's."""

    path: str | None = None
    """The folder as it was found when this was planned; None where nobody has looked."""


class ServeJob(Record):
    """The engine's command line, without its key."""

    stage: Literal["serve"] = "serve"
    served_name: str
    arguments: tuple[str, ...]
    """For the engine's own parser."""

    key_file: str = "/run/secrets/api_key"
    """Where the API keys are, one a line; the keys themselves are in no plan, argument or environment."""

    engine: EngineName = "vllm"
    adapters: tuple[AdapterPlace, ...] = ()
    """Where there are some, the engine loads the input `model` instead of `exported`; template and tokenizer stay those of `exported`."""

    drain_seconds: int = 60
    """For requests in flight, after SIGTERM."""

    generation: dict[str, int | float] = {}
    """Over the model's generation_config.json, for an engine that reads it from a folder alone."""
