"""Numbers with their sources, as JSON beside this file; read once at import, the only reading that planning does."""

import json
from importlib.resources import files
from typing import Any


def _table(name: str) -> Any:
    return json.loads(files(__name__).joinpath(name).read_text(encoding="utf-8"))


DEFAULTS: dict[str, Any] = _table("defaults.json")
"""Hyper-parameters by method and adapter."""

LOCKS: dict[str, dict[str, str]] = _table("locks.json")
"""sha256 of each image's locked packages, by image and device; written by images/lock.sh."""

ENGINES: dict[str, dict[str, Any]] = _table("engines.json")
"""What the inference engines of the images know, by engine."""

PARSERS: dict[str, list[dict[str, Any]]] = _table("parsers.json")
"""Parsers of tool calls and of thinking, by model type and a mark in the chat template; the first that fits."""

ACCELERATORS: dict[str, Any] = _table("accelerators.json")
"""Kinds of accelerator: TFLOP/s, memory in GB a second, `link_gb` one way over all links; `words` that their name has; `reached`, the parts of these
peaks that a training reaches."""

KERNELS: dict[str, Any] = _table("kernels.json")
"""Model types that kernels beside transformers' own exist for, and of which they were measured."""

TIME: dict[str, Any] = _table("time.json")
"""Factors between a machine's rates and the time of a step."""

ARCHITECTURES: dict[str, Any] = _table("architectures.json")
"""Model types that the images' transformers can build, and its version."""
