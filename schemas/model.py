"""Section `model`: which weights everything starts from."""

import re
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from schemas.base import Section

REPOSITORY = r"[\w.-]+/[\w.-]+(@[\w./-]+)?"
"""ORG/NAME[@REVISION]; a revision is a branch, a tag or a commit."""

HUBS = ("hf", "ms")
"""hf: Hugging Face Hub, ms: ModelScope."""


def check_source(value: str) -> str:
    """Return the source unchanged or say what is wrong with its form; looks at no disk and no network."""
    if not value.strip():
        raise PydanticCustomError("source", "must not be empty")
    if not value.isprintable():
        raise PydanticCustomError("source", "must be one line of printable text")
    scheme, found, rest = value.partition("://")
    if not found:
        if any("**" in part and part != "**" for part in value.split("/")):
            raise PydanticCustomError("source", "`**` must stand alone between slashes, as in /data/**/*.jsonl")
        return value
    if scheme not in HUBS:
        known = ", ".join(f"{hub}://" for hub in HUBS)
        raise PydanticCustomError("source", "`{scheme}://` is not a known source; use {known} or a path", {"scheme": scheme, "known": known})
    if not re.fullmatch(REPOSITORY, rest):
        raise PydanticCustomError("source", "must read {scheme}://ORG/NAME or {scheme}://ORG/NAME@REVISION", {"scheme": scheme})
    return value


Source = Annotated[str, AfterValidator(check_source)]
"""A path, hf://ORG/NAME[@REVISION] or ms://ORG/NAME[@REVISION]."""


class Model(Section):
    """The base model."""

    source: Source
    """hf://ORG/NAME[@REVISION], ms://ORG/NAME[@REVISION], a folder, or a .gguf file (turned into safetensors by fetch)."""

    trust_remote_code: bool = False
    """Accept Python code that comes with the model (`auto_map`). It runs with the rights of the stage: leave it off unless you have read it."""
