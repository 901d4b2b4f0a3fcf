"""Facts as a file or the name of a machine that ships -> Facts, or every problem of the file at once; and this machine's, to be kept as one."""

import difflib
from dataclasses import replace
from pathlib import Path

import click
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from entrypoint import __version__
from entrypoint.documents import read_document
from entrypoint.machines import machine_names, machine_text
from entrypoint.options import store_option
from entrypoint.probe import probe
from schemas.accelerator import Accelerator, Link
from schemas.base import Record
from schemas.errors import Problem, SpecError, UsageError, shown
from schemas.facts import AdapterFacts, Facts, ModelFacts, SourceFacts
from schemas.rates import Rates

FORM = "docs/facts.md describes the form; `caisson facts` prints this machine's"
SHOWN = 20
"""Problems of one file that are printed; a file of another kind has thousands."""

OF_A_STORE = {"models", "sources", "code", "adapters", "template_marks", "program", "node"}
"""What is no fact about a machine but about one spec's files, this program or this moment."""

PARTS: dict[str, type[Record]] = {
    "accelerators": Accelerator, "link": Link, "rates": Rates, "models": ModelFacts, "sources": SourceFacts, "adapters": AdapterFacts,
}  # fmt: skip
"""Whose keys stand below a key of the facts."""


def read_facts(given: str) -> Facts:
    """The facts of the recorded machine with that name, else of a file: ./h100 is one that is called like a machine. Raises SpecError with every problem, UsageError where there is no such file."""
    path, names = Path(given), machine_names()
    if given in names:
        return parse_facts(machine_text(given), f"{given}.json")
    near = difflib.get_close_matches(path.name.removesuffix(".json"), names, 3, 0.5)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    missing = f"{meant}Recorded machines are {', '.join(names)}; `caisson facts` records this one"
    return parse_facts(read_document(path, "facts file", missing), given)


def parse_facts(text: str, file: str) -> Facts:
    """Raises SpecError with every problem."""
    try:
        facts = Facts.model_validate_json(text)
    except ValidationError as error:
        found = error.errors()
        problems = [_problem(detail, file) for detail in found[:SHOWN]]
        if len(found) > SHOWN:
            problems.append(Problem("", None, None, f"and {len(found) - SHOWN:,} more problems", None, file))
        if problems[-1].fix is None:
            problems[-1] = replace(problems[-1], fix=FORM)
        raise SpecError(problems) from None
    return facts if facts.program else facts.model_copy(update={"program": __version__})


def _problem(detail: ErrorDetails, file: str) -> Problem:
    kind, place, given = detail["type"], [shown(str(part)) for part in detail["loc"]], detail["input"]
    what, fix = detail["msg"], None
    if kind == "json_invalid":
        what = f"is not JSON: {what.removeprefix('Invalid JSON: ')}"
    elif kind == "missing":
        what = "is missing"
    elif kind == "extra_forbidden":
        what, fix = "is not a known key", _nearest(place)
    elif kind in ("model_type", "model_attributes_type", "dict_type"):
        what = "must be a mapping of keys" + ("" if place else ", as `caisson facts` prints it")
    else:
        what = what.replace("Input should be", "must be").replace("String should", "must").replace("Tuple should", "must").replace("a valid array", "a list")
        what = what[:1].lower() + what[1:]
        if isinstance(given, str | int | float | bool) and len(str(given)) <= 40 and str(given).isprintable():
            what += f", not {given}"
    return Problem(".".join(place), None, None, what, fix, file)


def _nearest(place: list[str]) -> str:
    above = next((PARTS[part] for part in reversed(place[:-1]) if part in PARTS), Facts)
    near = difflib.get_close_matches(place[-1], above.model_fields, 1)
    return f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(above.model_fields)}"


@click.command("facts")
@store_option
@click.argument("name", required=False)
def show_facts(store: Path, name: str | None) -> None:
    """Print this machine's facts, to be kept in a file for `caisson plan --facts FILE`; with NAME those of a recorded machine."""
    if name is None:
        click.echo(probe(store).model_dump_json(indent=2, exclude_none=True, exclude=OF_A_STORE))
        return
    names = machine_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, 3, 0.5)
        raise UsageError(f"no recorded machine is called {name}", f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names)}")
    click.echo(machine_text(name), nl=False)
