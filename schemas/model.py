"""Section `model`: which weights everything starts from."""

import re
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from schemas.base import Section

REPOSITORY = r"[\w.-]+/[\w.-]+(@[\w./-]+)?"
"""ORG/NAME[@REVISION]; a revision is a branch, a tag or a commit."""

ROWS_IN_REPOSITORY = r"[\w.-]+/[\w.-]+(@[\w.-]+)?(/[^/@]+)*"
"""ORG/NAME[@REVISION][/PATH]; a path may have wildcards."""

HUBS = ("hf", "ms")
"""hf: Hugging Face Hub, ms: ModelScope."""


def check_source(value: str) -> str:
    """Return the source of a model unchanged or say what is wrong with its form; looks at no disk and no network."""
    return _check(value, REPOSITORY, "")


def check_row_source(value: str) -> str:
    """The same of rows, which may be some of a repository's files."""
    return _check(value, f"{REPOSITORY}|{ROWS_IN_REPOSITORY}", "[/PATH]")


def _check(value: str, pattern: str, behind: str) -> str:
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
    if not re.fullmatch(pattern, rest):
        raise PydanticCustomError(
            "source", "must read {scheme}://ORG/NAME{behind} or {scheme}://ORG/NAME@REVISION{behind}", {"scheme": scheme, "behind": behind}
        )
    return value


Source = Annotated[str, AfterValidator(check_source)]
"""A path, hf://ORG/NAME[@REVISION] or ms://ORG/NAME[@REVISION]."""

RowSource = Annotated[str, AfterValidator(check_row_source)]
"""The same, with /PATH behind a repository."""


class Model(Section):
    """The base model."""

    source: Source
    """hf://ORG/NAME[@REVISION], ms://ORG/NAME[@REVISION], a folder, or a .gguf file (turned into safetensors by fetch)."""

    trust_remote_code: bool = False
    """Accept Python code that comes with the model (`auto_map`). It runs with the rights of the stage: leave it off unless you have read it."""
