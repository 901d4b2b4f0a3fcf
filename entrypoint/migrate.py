"""Specs of older versions of the format, rewritten step by step.

Within version 1 no key was ever renamed or removed, so there is no step yet. Who makes version N+1 adds `N: rewrite` to STEPS: a function from
the text of version N to that of N+1, which keeps comments and order, and a spec of version N beside its test.
"""

import difflib
from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path
from typing import get_args

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from schemas.errors import UsageError
from schemas.spec import Spec

Step = Callable[[str], str]
STEPS: Mapping[int, Step] = {}
"""By the version that a step starts from."""

CURRENT: int = get_args(Spec.model_fields["spec"].annotation)[0]


def migrate(text: str, file: str, steps: Mapping[int, Step] = STEPS, current: int = CURRENT) -> str:
    """The text in the current version; the same text where it has that version. Raises UsageError for versions that it cannot start from."""
    version = _version(text, file)
    if version > current:
        raise UsageError(
            f"{file} is of version {version}, this program knows versions up to {current}",
            "use the program that the file was written for, or go back to the file as it was before",
        )
    while version < current:
        if version not in steps:
            raise UsageError(f"{file} is of version {version}, from which there is no way to version {current}", "start with `spec: 1`; examples are in specs/")
        text = steps[version](text)
        if (reached := _version(text, file)) != version + 1:
            raise AssertionError(f"the step from version {version} wrote version {reached}")
        version = reached
    return text


def difference(old: str, new: str, file: str) -> str:
    """A unified diff; empty where both are the same."""
    return "".join(difflib.unified_diff(old.splitlines(True), new.splitlines(True), file, f"{file} (version {CURRENT})"))


def replace(path: Path, text: str) -> None:
    """Give a file another text and keep its rights; whoever reads it meanwhile reads the old or the new one whole."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text, encoding="utf-8")
    draft.chmod(path.stat().st_mode)
    draft.replace(path)


def _version(text: str, file: str) -> int:
    try:
        root = YAML(typ="safe").load(StringIO(text))
    except YAMLError as error:
        raise UsageError(f"{file} is not YAML: {str(error).splitlines()[0]}", f"caisson validate {file} names the line") from None
    version = root.get("spec") if isinstance(root, dict) else None
    if type(version) is not int or version < 1:
        raise UsageError(f"{file} does not say its version", "a spec starts with `spec: 1`")
    return version
