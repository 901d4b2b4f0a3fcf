"""Whether the images' transformers knows the architecture that a config.json names; said alike by a plan and by what builds the model."""

import difflib
from collections.abc import Sequence
from typing import Any

from schemas.errors import UsageError

AS_PUBLISHED = "bring config.json as it was published, or use another model"


def check_known(config: dict[str, Any], shown: str, known: Sequence[str], here: str) -> None:
    """Raise UsageError where transformers `here` has no such architecture among `known`: what it is called, who has it, or which name was meant.

    `shown` stands for the config in the text.
    """
    name = config.get("model_type")
    if not isinstance(name, str) or not name:
        raise UsageError(f"{shown}: config.json names no model_type", AS_PUBLISHED)
    if name in known:
        return
    written = str(config.get("transformers_version") or "")[:40]
    said = f"; the config was written by transformers {written}" if written else ""
    near = difflib.get_close_matches(name, known, 1, 0.75)
    fix = f"build the images with transformers {written} or later" if _is_later(written, here) else "use a model of another architecture"
    if config.get("auto_map"):
        fix = "it brings code of its own, which only engines that run such code can load"
    elif near and not _is_later(written, here):
        fix = f"the nearest that it has is {near[0]}: correct model_type in config.json if that was meant"
    raise UsageError(f"{shown}: transformers {here} in the images does not know the architecture {name[:80]!r}{said}", fix)


def _is_later(written: str, here: str) -> bool:
    """Whether one version comes after another, by their numbers."""
    numbers = [tuple(int(part) for part in version.split(".")[:3] if part.isdigit()) for version in (written, here)]
    return numbers[0] > numbers[1]
