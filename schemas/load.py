"""YAML text -> Spec, or every problem at once, in file order, each with its place and a fix."""

import difflib
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.errors import Problem, SpecError
from schemas.shape import Place, accepts_auto, kind_words, locate, sections_with
from schemas.spec import Spec
from schemas.tree import Tree, read_tree
from schemas.unbuilt import is_unbuilt_key, is_unbuilt_value

NOUNS = {
    "int_type": "a whole number", "int_from_float": "a whole number", "int_parsing": "a whole number",
    "float_type": "a number", "float_parsing": "a number", "finite_number": "a finite number",
    "string_type": "text", "bool_type": "true or false", "bool_parsing": "true or false",
    "tuple_type": "a list", "list_type": "a list", "dict_type": "a mapping of keys",
    "model_type": "a mapping of keys", "model_attributes_type": "a mapping of keys",
}  # fmt: skip
LIMITS = {
    "greater_than": ("gt", "greater than"), "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"), "less_than_equal": ("le", "at most"),
}  # fmt: skip


def load(text: str, file: str = "spec.yaml") -> Spec:
    """Parse and validate one spec; `file` is the name that the messages show. Raises SpecError with every problem."""
    tree = read_tree(text, file)
    if tree.data is None and not tree.problems:
        tree.problems.append(Problem("", 1, 1, "is empty", "start with `spec: 1`; examples are in specs/", file))
    elif not isinstance(tree.data, dict) and not tree.problems:
        tree.problems.append(Problem("", 1, 1, "must be a mapping of sections", "start with `spec: 1`; examples are in specs/", file))
    if not isinstance(tree.data, dict):
        raise SpecError(tree.problems)
    try:
        spec = Spec.model_validate(tree.data)
    except ValidationError as error:
        found = [(detail, _problem(detail, tree, file)) for detail in error.errors()]
        tree.problems += _without_followers(found, tree)
    if tree.problems:
        raise SpecError(sorted(tree.problems, key=lambda p: (p.line or 0, p.column or 0)))
    return spec


def _without_followers(found: list[tuple[ErrorDetails, Problem]], tree: Tree) -> list[Problem]:
    """Drop what only follows from another problem: a list that looks empty because its entries were wrong, and
    everything else in a file that was written for another version."""
    version = [p for _, p in found if p.where == "spec" and "spec" in tree.data]
    if version:
        return version
    return [p for error, p in found if not (error["type"] == "too_short" and error["input"])]


def _problem(error: ErrorDetails, tree: Tree, file: str) -> Problem:
    kind = error["type"]
    place = locate(error["loc"])
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _wrong_kind(error, place, tree, file)
    if kind == "extra_forbidden":
        line, column = _at(tree.keys, place.path)
        what, fix = _unknown_key(place)
    elif kind == "missing":
        holder = place.path[:-1]
        line, column = _at(tree.values if holder and isinstance(holder[-1], int) else tree.keys, holder)
        what, fix = "is required", _first_sentence(place)
    else:
        line, column = _at(tree.values, place.path)
        what, fix = _wrong_value(error, place)
    return Problem(".".join(map(str, place.path)), line, column, what, fix, file)


def _wrong_kind(error: ErrorDetails, place: Place, tree: Tree, file: str) -> Problem:
    words = [w for m in place.kinds for w in kind_words(m)]
    path = (*place.path, "kind")
    where = ".".join(map(str, path))
    if error["type"] == "union_tag_not_found":
        line, column = _at(tree.keys, place.path)
        given = error["input"]
        if not isinstance(given, dict):
            return Problem(".".join(map(str, place.path)), *_at(tree.values, place.path), f"must be a mapping of keys, not {_show(given)}", f"write {{kind: {words[-1]}}}", file)
        owners = sorted({w for m in place.kinds for w in kind_words(m) if set(given) & set(m.model_fields)}, key=words.index)
        fix = f"these keys belong to kind: {' or '.join(owners)}" if owners else None
        return Problem(where, line, column, f"is required: one of {', '.join(words)}", fix, file)
    tag = error["input"].get("kind") if isinstance(error["input"], dict) else None
    line, column = _at(tree.values, path)
    what, fix = _not_one_of(tag, words, Place((*place.path, "kind"), ()).pattern)
    return Problem(where, line, column, what, fix, file)


def _unknown_key(place: Place) -> tuple[str, str | None]:
    key = str(place.path[-1])
    section = Place(place.path[:-1], ()).pattern
    if is_unbuilt_key(section, key):
        return "is not built yet in this version", "take it out"
    what = "is not a known key"
    if not place.holders:
        return what, None
    here, *others = place.holders
    owners = [word for other in others if key in other.model_fields for word in kind_words(other)]
    if owners:
        return what, f"`{key}` belongs to kind: {' or '.join(owners)}"
    close = difflib.get_close_matches(key, here.model_fields, 1)
    if close:
        return what, f"did you mean `{close[0]}`?"
    elsewhere = [s for s in sections_with(key) if s != section]
    if elsewhere:
        return what, f"`{key}` belongs under `{elsewhere[0]}`"
    return what, f"known here: {', '.join(here.model_fields)}"


def _wrong_value(error: ErrorDetails, place: Place) -> tuple[str, str | None]:
    kind, given, context = error["type"], error["input"], error.get("ctx", {})
    auto = " or auto" if accepts_auto(place.field) else ""
    if place.path == ("spec",) and kind == "literal_error":
        return f"this program reads version 1 of the format, the file says {_show(given)}", "write `spec: 1`, or use the program that this file was written for"
    if kind == "literal_error":
        words = [w.strip("'") for w in str(context["expected"]).replace(" or ", ", ").split(", ")]
        return _not_one_of(given, words + (["auto"] if auto else []), place.pattern)
    if kind in NOUNS:
        return f"must be {NOUNS[kind]}{auto}, not {_show(given)}", _number_hint(kind, given)
    if kind in LIMITS:
        key, words_ = LIMITS[kind]
        return f"must be {words_} {context[key]:g}, not {_show(given)}", None
    if kind == "too_short":
        return "needs at least one entry", None
    if kind == "too_long":
        return f"may have {context['max_length']} entry in this version, not {context['actual_length']}", None
    if kind == "string_pattern_mismatch":
        return f"must be lower-case letters, digits, dots, dashes and underscores, not {_show(given)}", _slug(given)
    return error["msg"], None


def _not_one_of(given: object, words: list[str], where: str) -> tuple[str, str | None]:
    if is_unbuilt_value(where, given):
        return f"{given} is not built yet in this version", f"built: {', '.join(words)}"
    close = difflib.get_close_matches(str(given), words, 1)
    fix = f"did you mean `{close[0]}`?" if close else None
    return f"must be {'one of ' if len(words) > 1 else ''}{', '.join(words)}, not {_show(given)}", fix


def _first_sentence(place: Place) -> str | None:
    return place.field.description.split("\n")[0] if place.field and place.field.description else None


def _number_hint(kind: str, given: object) -> str | None:
    if isinstance(given, str) and NOUNS[kind].endswith("number"):
        try:
            float(given)
        except ValueError:
            return None
        return f"write it without quotes: {given}"
    return None


def _slug(given: object) -> str | None:
    kept = "".join(c if c.isalnum() and c.isascii() or c in "._-" else "-" for c in str(given).lower()).strip("-._")
    return f"for example {kept[:63]}" if kept else None


def _show(given: object) -> str:
    if isinstance(given, dict):
        return "a mapping"
    if isinstance(given, list | tuple):
        return "a list"
    if given is None:
        return "nothing"
    if isinstance(given, bool):
        return str(given).lower()
    shown = repr(given)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _at(marks: dict[Any, tuple[int, int]], path: tuple[str | int, ...]) -> tuple[int | None, int | None]:
    """The 1-based line and column of the nearest place that the file has."""
    for end in range(len(path), 0, -1):
        if path[:end] in marks:
            line, column = marks[path[:end]]
            return line + 1, column + 1
    return None, None
