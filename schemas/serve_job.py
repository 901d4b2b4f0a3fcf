"""What the leaf of the stage serve is told."""

from typing import Literal

from schemas.base import Record


class ServeJob(Record):
    """The engine's command line, without its key."""

    stage: Literal["serve"] = "serve"
    served_name: str
    arguments: tuple[str, ...]
    """For vLLM's own parser."""

    key_file: str = "/run/secrets/api_key"
    """Where the API keys are, one a line; the keys themselves are in no plan, argument or environment."""
