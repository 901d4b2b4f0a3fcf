"""YAML text -> plain values and the place of each key and value. Duplicate keys and unreadable YAML are problems here."""

import re
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from schemas.errors import Problem

Path = tuple[str | int, ...]
Mark = tuple[int, int]

# An alias can stand for a whole subtree: a few lines could grow into gigabytes. No real spec comes near these.
MAX_VALUES = 20_000
MAX_DEPTH = 50
MAX_CHARACTERS = 500_000

TAG = "tag:yaml.org,2002:"
SCALARS = ("str", "int", "float", "bool", "null", "timestamp")
"""YAML's own scalar types that a spec may hold; a timestamp stays the text that it is in the file."""

NOUNS = {"int": "a whole number", "float": "a number", "bool": "true or false", "null": "nothing"}


@dataclass
class Tree:
    """Plain data and, for each path, where its key and its value stand (0-based line and column)."""

    data: Any = None
    keys: dict[Path, Mark] = field(default_factory=dict)
    values: dict[Path, Mark] = field(default_factory=dict)
    texts: dict[Path, str] = field(default_factory=dict)
    """Numbers and words without quotes, as the file has them."""

    starts: dict[Path, Mark] = field(default_factory=dict)
    """Where the text of a value begins that stands on one line as it is, behind its quote where it has one."""

    spoilt: dict[Path, Problem] = field(default_factory=dict)
    """Values with a problem already: what validation says of them only repeats it."""

    problems: list[Problem] = field(default_factory=list)


def read_tree(text: str, file: str) -> Tree:
    """Read one YAML document; what cannot be read is in `problems`."""
    if len(text) > MAX_CHARACTERS:
        what = f"has {len(text):,} characters, a spec has at most {MAX_CHARACTERS:,}"
        return Tree(problems=[Problem("", 1, 1, what, "is this the spec, or a file of rows?", file)])
    builder = _Builder(file)
    tree = builder.tree
    try:
        root = builder.yaml.compose(text)
        if root is not None:
            tree.data = builder.build(root, ())
    except _TooMany:
        tree.problems.append(Problem("", 1, 1, f"holds more than {MAX_VALUES:,} values", "aliases (*name) count each time they are used", file))
    except (_TooDeep, RecursionError) as error:
        line, column = error.mark if isinstance(error, _TooDeep) else (0, 0)
        tree.problems.append(Problem("", line + 1, column + 1, "is nested too deeply", f"a spec has at most {MAX_DEPTH} levels", file))
    except MarkedYAMLError as error:
        tree.problems.append(_unreadable(error, file))
    except ReaderError as error:
        tree.problems.append(_control_character(error, text, file))
    return tree


def problem_at(path: Path, mark: Mark, what: str, fix: str | None, file: str) -> Problem:
    """A problem at a 0-based mark; nothing of the file gets to the terminal that does not print."""
    where = ".".join(_printable(str(part))[:60] or "''" for part in path)
    return Problem(where, mark[0] + 1, mark[1] + 1, _printable(what), fix and _printable(fix), file)


def _printable(text: str) -> str:
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown if len(shown) <= 400 else shown[:397] + "..."


class _TooMany(Exception):
    pass


class _TooDeep(Exception):
    def __init__(self, mark: Mark):
        super().__init__()
        self.mark = mark


class _Builder:
    """Nodes -> values, noting where each came from."""

    def __init__(self, file: str):
        self.file = file
        self.tree = Tree()
        self.yaml = YAML(typ="safe", pure=True)
        self.yaml.composer.warn_double_anchors = False  # YAML 1.2 allows it; the last one counts

    def build(self, node: Node, path: Path) -> Any:
        self.tree.values[path] = _mark(node)
        if len(self.tree.values) > MAX_VALUES:
            raise _TooMany
        if len(path) > MAX_DEPTH:
            raise _TooDeep(_mark(node))
        tag = str(node.tag).removeprefix(TAG)
        if isinstance(node, MappingNode) and tag == "map":
            return self._build_mapping(node, path)
        if isinstance(node, SequenceNode) and tag == "seq":
            return [self.build(item, (*path, at)) for at, item in enumerate(node.value)]
        if isinstance(node, ScalarNode) and tag in SCALARS:
            return self._build_scalar(node, path, tag)
        self._spoil(path, _mark(node), f"has the tag {str(node.tag).replace(TAG, '!!')}, which a spec does not use", "take the tag out")
        return None

    def _build_scalar(self, node: ScalarNode, path: Path, tag: str) -> Any:
        if node.style is None:
            self.tree.texts[path] = node.value
        self._note_start(node, path)
        if tag == "null" and path:
            # An empty value has no place of its own: the next line would be shown.
            mark = self.tree.keys.get(path) or self.tree.values[path[:-1]]
            self._spoil(path, mark, "has no value", "write one, or take the key out")
            return None
        if tag == "timestamp":
            return node.value
        try:
            return self.yaml.constructor.construct_object(node, deep=True)
        except (ValueError, LookupError, OverflowError):
            # From an explicit tag (!!int x), or a number of thousands of digits.
            self._spoil(path, _mark(node), f"cannot be read as {NOUNS.get(tag, tag)}", None)
            return None

    def _note_start(self, node: ScalarNode, path: Path) -> None:
        """So that a problem inside a text has its column; with line breaks or escapes in it, columns are not characters."""
        quote, start, end = int(node.style in ("'", '"')), node.start_mark, node.end_mark
        if start.line == end.line and end.column - start.column == len(node.value) + 2 * quote:
            self.tree.starts[path] = (start.line, start.column + quote)

    def _build_mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        built: dict[str, Any] = {}
        for key_node, value_node in node.value:
            mark = _mark(key_node)
            if not isinstance(key_node, ScalarNode):
                self._spoil(path, mark, "has a list or a mapping where a key should be", "put text that holds brackets or braces in quotes")
                continue
            key = str(key_node.value)
            here = (*path, key)
            if str(key_node.tag) == TAG + "merge":
                self._problem(here, mark, "keys are not merged in a spec", "write the keys out")
                continue
            if key in built:
                self._problem(here, mark, f"is given twice, first on line {self.tree.keys[here][0] + 1}", "keep one of the two")
                continue
            self.tree.keys[here] = mark
            built[key] = self.build(value_node, here)
        return built

    def _spoil(self, path: Path, mark: Mark, what: str, fix: str | None) -> None:
        self.tree.spoilt[path] = self._problem(path, mark, what, fix)

    def _problem(self, path: Path, mark: Mark, what: str, fix: str | None) -> Problem:
        problem = problem_at(path, mark, what, fix, self.file)
        self.tree.problems.append(problem)
        return problem


def _mark(node: Node) -> Mark:
    return node.start_mark.line, node.start_mark.column


UNREADABLE: tuple[tuple[str, str, str | None], ...] = (
    (r"\\t|\t", "a tab where only spaces may stand", "use spaces"),
    (r"but found another document|single document", "a second document starts here", "one spec a file: take out the line `---`"),
    (r"expected ',' or '\]'", "this `[` is not closed, or a comma is missing in it", "close it with `]`"),
    (r"expected ',' or '\}'", "this `{` is not closed, or a comma is missing in it", "close it with `}`"),
    (r"unexpected end of stream|document separator", "this quote is not closed", "close it on the same line"),
    (r"mapping values are not allowed", "a `:` where no key can be", "check the indentation, the blank after each colon, and quotes around text with `: `"),
    (r"could not find expected ':'|missing a colon", "a line above is not `key: value`", "check for a blank after the colon, and the indentation"),
    (r"expected '<document start>'", "this line does not go with what stands above it", "check the lines above: `key: value`, with a blank after the colon"),
    (r"node content, but found '<", "a value is missing before this place", "write it, or take its key out"),
    (r"but found '<scalar>'", "text after the end of a value", "put the whole value in one pair of quotes"),
    (r"expected <block end>", "this line is not indented like the lines it goes with", "keys of one section start in the same column"),
    (r"undefined alias '(.*)'", r"`*\1` is used, but no `&\1` is defined before it", "put text that starts with * in quotes"),
    (r"alphabetic or numeric character", "a name is missing after `&` or `*`", "put text that starts with & or * in quotes"),
    (r"sequence entries are not allowed", "a `-` where no list can be", "start the list on a line of its own, or write [a, b]"),
    (r"mapping keys are not allowed", "a `?` where no key can be", "put text that starts with ? in quotes"),
    (r"chomping or indentation|a comment or a line break", "text right after `|` or `>`", "put text that starts with | or > in quotes"),
    (r"cannot start any token", "a character that no value can start with", "put the text in quotes"),
    (r"node content, but found '(.*)'", r"`\1` where a value should be", "put text that starts with it in quotes"),
    (r"incompatible YAML document", "another version of YAML", "take out the line %YAML"),
    (r"unknown escape", "a backslash in double quotes that means nothing", "use single quotes for text with backslashes"),
)
"""What the YAML reader says (pattern), what we say, the fix."""

AT_START = ("[", "{", "quote")


def _unreadable(error: MarkedYAMLError, file: str) -> Problem:
    said = " ".join(filter(None, (error.context, error.problem)))
    what, fix = (error.problem or error.context or "unreadable").strip(), None
    mark = error.problem_mark or error.context_mark
    for pattern, ours, hint in UNREADABLE:
        if found := re.search(pattern, said):
            what, fix = found.expand(ours), hint
            if any(word in ours for word in AT_START) and error.context_mark:
                mark = error.context_mark
            break
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    return Problem("", line, column, f"is not YAML: {what}", fix, file)


def _control_character(error: ReaderError, text: str, file: str) -> Problem:
    code = error.character if isinstance(error.character, int) else ord(error.character)
    before = text.partition(chr(code))[0]
    line = before.count("\n") + 1
    return Problem("", line, len(before) - before.rfind("\n"), f"is not YAML: the control character U+{code:04X}", "take it out", file)
