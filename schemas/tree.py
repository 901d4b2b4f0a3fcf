"""YAML text -> plain values and the place of each key and value. Duplicate keys and unreadable YAML are problems here."""

from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from schemas.errors import Problem

Path = tuple[str | int, ...]

# An alias can stand for a whole subtree: a few lines could grow into gigabytes. No real spec comes near this.
MAX_VALUES = 20_000


@dataclass
class Tree:
    """Plain data and, for each path, where its key and its value stand (0-based line and column)."""

    data: Any = None
    keys: dict[Path, tuple[int, int]] = field(default_factory=dict)
    values: dict[Path, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


class _TooMany(Exception):
    pass


def read_tree(text: str, file: str) -> Tree:
    """Read one YAML document; what cannot be read is in `problems`."""
    yaml = YAML(typ="safe", pure=True)
    tree = Tree()
    try:
        root = yaml.compose(text)
        if root is not None:
            tree.data = _build(root, (), tree, yaml, file)
    except _TooMany:
        tree.problems.append(Problem("", 1, 1, f"holds more than {MAX_VALUES} values", "aliases (*name) count each time they are used", file))
    except RecursionError:
        tree.problems.append(Problem("", 1, 1, "is nested too deeply", None, file))
    except MarkedYAMLError as error:
        tree.problems.append(_unreadable(error, file))
    except (ValueError, OverflowError) as error:
        # ruamel turns !!int, !!timestamp and the like into values itself and passes Python's complaint on.
        tree.problems.append(Problem("", None, None, f"is not YAML: {error}", None, file))
    return tree


def _build(node: Node, path: Path, tree: Tree, yaml: YAML, file: str) -> Any:
    tree.values[path] = (node.start_mark.line, node.start_mark.column)
    if len(tree.values) > MAX_VALUES:
        raise _TooMany
    if isinstance(node, SequenceNode):
        return [_build(item, (*path, at), tree, yaml, file) for at, item in enumerate(node.value)]
    if isinstance(node, MappingNode):
        return _build_mapping(node, path, tree, yaml, file)
    assert isinstance(node, ScalarNode)
    return yaml.constructor.construct_object(node, deep=True)


def _build_mapping(node: MappingNode, path: Path, tree: Tree, yaml: YAML, file: str) -> dict[str, Any]:
    built: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(getattr(key_node, "value", "?"))
        here = (*path, key)
        mark = (key_node.start_mark.line, key_node.start_mark.column)
        if key in built:
            first = tree.keys[here][0] + 1
            where = ".".join(map(str, here))
            tree.problems.append(Problem(where, mark[0] + 1, mark[1] + 1, f"is given twice, first on line {first}", "keep one of the two", file))
            continue
        tree.keys[here] = mark
        built[key] = _build(value_node, here, tree, yaml, file)
    return built


def _unreadable(error: MarkedYAMLError, file: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    what = (error.problem or error.context or "unreadable").strip()
    fix = None
    if "\\t" in what or "\t" in what:
        what, fix = "a tab where only spaces may stand", "indent with spaces"
    elif "single document" in str(error):
        what, fix = "holds more than one document", "one spec a file: take out the line `---`"
    line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
    return Problem("", line, column, f"is not YAML: {what}", fix, file)
