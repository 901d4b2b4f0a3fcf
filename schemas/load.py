"""YAML text -> Spec, or every problem at once, in file order, each with its place and a fix."""

from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.errors import Problem, SpecError
from schemas.gate_check import gate_problems
from schemas.shape import Place, locate
from schemas.spec import Spec
from schemas.tree import Path, Tree, problem_at, read_tree
from schemas.wording import Words, nearest_key, word_missing, word_missing_kind, word_not_one_of, word_unknown_key, word_wrong_value

START = "start with `spec: 1`; examples are in specs/"


def load(text: str, file: str = "spec.yaml") -> Spec:
    """Parse and validate one spec; `file` is the name that the messages show. Raises SpecError with every problem."""
    tree = read_tree(text, file)
    if tree.data is None and not tree.problems:
        tree.problems.append(Problem("", 1, 1, "is empty", START, file))
    elif not isinstance(tree.data, dict) and not tree.problems:
        tree.problems.append(Problem("", 1, 1, "must be a mapping of sections", START, file))
    if not isinstance(tree.data, dict):
        raise SpecError(tree.problems)
    # 1.0 and true equal 1 in Python and would pass for it.
    data = tree.data | {"spec": ""} if isinstance(tree.data.get("spec"), float | bool) else tree.data
    try:
        spec = Spec.model_validate(data)
    except ValidationError as error:
        found = [_find(detail, tree) for detail in error.errors()]
        told = _without_followers(found, tree)
        # What is wrong with the value of an unknown key is no news.
        silent = [tree.spoilt.get(f.path) for f in told if f.error["type"] == "extra_forbidden"]
        tree.problems = [p for p in tree.problems if p not in silent] + [f.problem(tree, file) for f in told]
    else:
        tree.problems += [] if tree.problems else _of_the_gate(spec, tree, file)
    if tree.problems:
        raise SpecError(sorted(tree.problems, key=lambda p: (p.line or 0, p.column or 0)))
    return spec


@dataclass(frozen=True)
class _Found:
    """One error, where it is, and what it says."""

    error: ErrorDetails
    place: Place
    path: Path
    words: Words
    at_key: bool = False

    def problem(self, tree: Tree, file: str) -> Problem:
        # A key that is missing has no place: its section has.
        above = (self.path[:end] for end in range(len(self.path), 0, -1))
        line, column = next((mark for path in above if (mark := self._mark(tree, path))), tree.values[()])
        line, column = inside(tree, self.path, self.error.get("ctx", {}).get("at")) or (line, column)
        return problem_at(self.shown, (line, column), *self.words, file)

    def _mark(self, tree: Tree, path: Path) -> tuple[int, int] | None:
        """Where a path stands in the file; an entry of a list has no key."""
        return (tree.keys if self.at_key and not isinstance(path[-1], int) else tree.values).get(path)

    @property
    def shown(self) -> Path:
        return self.place.path if self.error["type"] == "missing" else self.path


def inside(tree: Tree, path: Path, at: int | None) -> tuple[int, int] | None:
    """The 0-based place of a character of a text; None where it has none, or the text is not on one line as it is."""
    start = tree.starts.get(path) if at is not None else None
    return (start[0], start[1] + (at or 0)) if start else None


def _of_the_gate(spec: Spec, tree: Tree, file: str) -> list[Problem]:
    found = []
    for one in gate_problems(spec):
        path: Path = ("evaluate", "gate", one.metric)
        mark = tree.keys[path] if one.at is None else inside(tree, path, one.at) or tree.values[path]
        found.append(problem_at(path, mark, one.what, one.fix, file))
    return found


def _find(error: ErrorDetails, tree: Tree) -> _Found:
    kind, place = error["type"], locate(error["loc"])
    given = error["input"]
    if kind == "missing":
        return _Found(error, place, place.path[:-1], word_missing(place), at_key=True)
    if kind == "extra_forbidden":
        return _Found(error, place, place.path, word_unknown_key(place), at_key=True)
    if kind == "union_tag_not_found" and isinstance(given, dict):
        return _Found(error, place, (*place.path, "kind"), word_missing_kind(place, given), at_key=True)
    if kind == "union_tag_invalid":
        inner = Place((*place.path, "kind"))
        return _Found(error, place, inner.path, word_not_one_of(given["kind"], place.kinds, inner.pattern, tree.texts.get(inner.path)))
    return _Found(error, place, place.path, word_wrong_value(error, place, tree.texts.get(place.path)))


def _without_followers(found: list[_Found], tree: Tree) -> list[_Found]:
    """Drop what only follows from another problem."""
    version = [f for f in found if f.path == ("spec",) and f.error["type"] == "literal_error"]
    if version and ("spec",) not in tree.spoilt:
        return version  # the rest of a file that was written for another version means nothing
    meant = {(*f.place.path[:-1], nearest_key(f.place) or "") for f in found if f.error["type"] == "extra_forbidden"}
    other_kind = {f.path[:-1] for f in found if f.path[-1:] == ("kind",) and f.error["type"] == "literal_error"}
    return [f for f in found if not (_is_spoilt(f, tree) or _follows(f, meant, other_kind))]


def _is_spoilt(found: _Found, tree: Tree) -> bool:
    whole = len(found.shown) + (found.error["type"] != "extra_forbidden")
    return any(found.shown[:end] in tree.spoilt for end in range(whole))


def _follows(found: _Found, meant: set[Path], other_kind: set[Path]) -> bool:
    """Whether it is a list that looks empty as its entries were wrong, a key that is only misspelt, or a key of another kind."""
    kind = found.error["type"]
    if kind == "too_short":
        return bool(found.error["input"])
    return (kind == "missing" and found.place.path in meant) or (kind == "extra_forbidden" and found.path[:-1] in other_kind)
