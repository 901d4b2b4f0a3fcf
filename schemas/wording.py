"""What a problem says: one error of pydantic -> what is wrong and the fix, in the words of the file."""

import difflib
import re

from pydantic_core import ErrorDetails

from schemas.other_names import BY_NAME
from schemas.shape import Place, kind_words, paths_by_key, sections_with, write_as
from schemas.unbuilt import is_unbuilt_key, is_unbuilt_value

Words = tuple[str, str | None]
"""What is wrong, and the fix where one is known."""

NOUNS = {
    "int_type": "a whole number", "int_from_float": "a whole number", "int_parsing": "a whole number", "int_parsing_size": "a whole number",
    "float_type": "a number", "float_parsing": "a number", "finite_number": "a finite number",
    "string_type": "text", "bool_type": "true or false", "bool_parsing": "true or false",
    "tuple_type": "a list", "list_type": "a list", "dict_type": "a mapping of keys",
    "model_type": "a mapping of keys", "model_attributes_type": "a mapping of keys", "union_tag_not_found": "a mapping of keys",
}  # fmt: skip
LIMITS = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")
YES_NO = {"yes": "true", "on": "true", "y": "true", "1": "true", "no": "false", "off": "false", "n": "false", "0": "false"}


def word_missing(place: Place) -> Words:
    """A required key that is not there."""
    shortest = write_as(place.annotation)
    if shortest and shortest != "...":
        return "is required", f"add `{place.path[-1]}: {shortest}`"
    return "is required", place.field.description.split("\n")[0] if place.field and place.field.description else None


def word_missing_kind(place: Place, given: dict[str, object]) -> Words:
    """A section whose `kind` is not there, so that nothing else of it can be judged."""
    owners = [word for model in place.models for word in kind_words(model) if set(given) & set(model.model_fields)]
    return f"is required: one of {', '.join(place.kinds)}", f"these keys belong to kind: {' or '.join(owners)}" if owners else f"add `kind: {place.kinds[0]}`"


def word_unknown_key(place: Place) -> Words:
    """A key that is not known at its place."""
    key = str(place.path[-1])
    section = Place(place.path[:-1]).pattern
    if is_unbuilt_key(section, key):
        return "is not built yet in this version", "take it out"
    what = "is not a known key"
    if not place.holders:
        return what, None
    owners = [word for other in place.holders[1:] if key in other.model_fields for word in kind_words(other)]
    if owners:
        return what, f"`{key}` belongs to kind: {' or '.join(owners)}"
    if key in BY_NAME:
        return what, f"`{key}` of other trainers is `{BY_NAME[key]}` here"
    if close := nearest_key(place):
        return what, f"did you mean `{close}`?"
    elsewhere = [s for s in sections_with(key) if s != section]
    if elsewhere:
        return what, f"`{key}` belongs under {' or '.join(f'`{s}`' for s in elsewhere)}"
    # Both misspelt and misplaced: nearer matches only, as there is more to choose from.
    everywhere = paths_by_key() | BY_NAME
    if far := difflib.get_close_matches(key, everywhere, 1, 0.8):
        return what, f"did you mean `{everywhere[far[0]]}`?"
    return what, f"known here: {', '.join(place.holders[0].model_fields)}"


def nearest_key(place: Place) -> str | None:
    """The key that was probably meant, of those that are valid at that place."""
    return next(iter(difflib.get_close_matches(str(place.path[-1]), place.holders[0].model_fields, 1)), None) if place.holders else None


def word_wrong_value(error: ErrorDetails, place: Place, text: str | None) -> Words:
    """A value that its key does not take; `text` is how the file writes it, if without quotes."""
    kind, given, context = error["type"], error["input"], error.get("ctx", {})
    shown = show(given, text)
    if place.path == ("spec",):
        what = f"this program reads version 1 of the format, the file says {text or shown}"
        return what, "write `spec: 1`, or use the program that this file was written for"
    if kind == "literal_error" or (kind == "tuple_type" and is_unbuilt_value(f"{place.pattern}.*", given)):
        pattern = place.pattern if kind == "literal_error" else f"{place.pattern}.*"
        return word_not_one_of(given, place.words + ["auto"] * place.accepts_auto, pattern, text)
    if kind == "too_short":
        shortest = write_as(place.annotation) or ""
        return "needs at least one entry", None if "[...]" in shortest else f"for example {shortest}"
    if kind == "too_long":
        return f"may have {context['max_length']} entries, not {context['actual_length']}", "take the others out"
    if kind == "string_pattern_mismatch":
        return f"must be 1 to 63 lower-case letters, digits, dots, dashes and underscores, the first a letter or a digit, not {shown}", _slug(given)
    if kind == "percent":
        whole = place.undecided
        either = f", or a list such as {write_as(whole.annotation)}" if whole.item else ""
        fix = _as_default(place, given) or _as_percent(given) or (None if "%" in shown else _as_structure(whole, given))
        return f"{error['msg']}{either}, not {shown}", fix
    if kind in LIMITS or (kind == "float_type" and type(given) is int):  # such as 10**400, which no float holds
        return f"must be {_range(place)}, not {shown}", None
    if kind in NOUNS:
        noun = f"{NOUNS[kind].replace(' or ', ', ')} or auto" if place.accepts_auto else NOUNS[kind]
        return f"must be {noun}, not {shown}", _as_default(place, given) or _as_scalar(NOUNS[kind], given, text) or _as_structure(place, given)
    return error["msg"], context.get("fix")


def word_not_one_of(given: object, words: list[str], pattern: str, text: str | None = None) -> Words:
    """A word that is none of a choice; `pattern` is the place with `*` for positions in lists."""
    if is_unbuilt_value(pattern, given):
        return f"{given} is not built yet in this version", f"built: {', '.join(words)}"
    if "true" in words and (meant := YES_NO.get(str(given).lower())):
        return f"must be one of {', '.join(words)}, not {show(given, text)}", f"write {meant}"
    close = difflib.get_close_matches(given, words, 1) if isinstance(given, str) else []
    return f"must be {'one of ' if len(words) > 1 else ''}{', '.join(words)}, not {show(given, text)}", f"did you mean `{close[0]}`?" if close else None


def show(given: object, text: str | None = None) -> str:
    """A value as it can be recognised in the file."""
    if isinstance(given, dict):
        return "a mapping"
    if isinstance(given, list | tuple):
        return "a list"
    shown = repr(given) if isinstance(given, str) else text or str(given)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _range(place: Place) -> str:
    words = {"ge": "at least", "gt": "greater than", "le": "at most", "lt": "less than"}
    limits = {key: f"{value}" if isinstance(value, int) else f"{value:g}" for key, value in place.bounds.items()}
    if set(limits) == {"ge", "le"}:
        return f"from {limits['ge']} to {limits['le']}"
    return " and ".join(f"{words[key]} {limits[key]}" for key in words if key in limits)


def _as_default(place: Place, given: object) -> str | None:
    if given == "auto" and place.field and not place.field.is_required():
        return "auto is no choice here: take the key out for its default"
    return None


def _as_percent(given: object) -> str | None:
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *(?:%|percent|pct)", given) if isinstance(given, str) else None
    return f"write {found[1]}%" if found and float(found[1]) <= 100 else None


def _as_scalar(noun: str, given: object, text: str | None) -> str | None:
    """The same value in the type that was wanted, where it is plain which one was meant."""
    if noun == "text" and isinstance(given, int | float):
        return f'write it in quotes: "{text or given}"'
    if noun == "true or false" and str(given).lower() in YES_NO:
        return f"write {YES_NO[str(given).lower()]}"
    if not noun.endswith("number"):
        return None
    if isinstance(given, float) and given.is_integer():
        return f"write {int(given)}"
    if isinstance(given, str) and re.fullmatch(r"\d{1,3}([, ]\d{3})+", given):
        return f"write {re.sub('[, ]', '', given)}"
    if isinstance(given, str) and re.fullmatch(r"[+-]?[0-9.]+(e[+-]?[0-9]+)?", given, re.IGNORECASE):
        return f"write it without quotes: {given}"
    return None


def _as_structure(place: Place, given: object) -> str | None:
    """The same value as the list or the mapping that was wanted."""
    key = "-" if isinstance(place.path[-1], int) else f"{place.path[-1]}:"
    if isinstance(given, dict) and place.item:
        return "make it a list: a dash before its first key"
    if isinstance(given, str) and given and (place.item or place.models):
        written = write_as(place.annotation, given)
        if written:
            return f"write `{key} {written}`"
    if place.item or not place.models:
        return None
    if place.kinds:
        return f"write `{key} {{kind: {place.kinds[0]}}}`" + (f"; kinds: {', '.join(place.kinds)}" if len(place.kinds) > 1 else "")
    return f"keys here: {', '.join(place.models[0].model_fields)}"


def _slug(given: object) -> str | None:
    kept = "".join(c if (c.isalnum() and c.isascii()) or c in "._-" else "-" for c in str(given).lower()).strip("-._")
    return f"for example {kept[:63]}" if kept else "for example my-run"
