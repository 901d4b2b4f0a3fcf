"""The text of a Python file -> what it defines, without running it."""

import ast
import hashlib
import warnings

from pydantic import Field

from schemas.base import Record


class Parameter(Record):
    """One of a function."""

    name: str
    annotation: str = ""
    """As it is written."""

    required: bool = True
    keyword_only: bool = False


class Definition(Record):
    """A function or a class at the top of a file."""

    line: int
    kind: str
    """function, async function, class or name: something that only running the file would tell."""

    parameters: tuple[Parameter, ...] = ()
    """Of a class those of `__init__`, without self where it is a method."""

    takes_any: bool = False
    """Whether it has **kwargs."""

    bases: int = 0
    methods: dict[str, "Definition"] = {}
    attributes: tuple[Parameter, ...] = ()
    """Of a class those with an annotation and a value."""


class CodeFacts(Record):
    """A file as its text tells."""

    sha256: str
    fault: str = ""
    """Why it is no Python, with the line."""

    definitions: dict[str, Definition] = Field(default={})


MAX_BYTES = 2**20
"""No plug-in is larger."""


def read_code(content: bytes) -> CodeFacts:
    """What the file defines at its top. A file that cannot be parsed is a fact with its fault, not an error."""
    digest = hashlib.sha256(content).hexdigest()
    if len(content) > MAX_BYTES:
        return CodeFacts(sha256=digest, fault=f"it has more than {MAX_BYTES:,} bytes, which no plug-in has")
    try:
        with warnings.catch_warnings():  # of escapes and the like: for whoever runs it
            warnings.simplefilter("ignore")
            tree = ast.parse(content)
    except SyntaxError as error:
        return CodeFacts(sha256=digest, fault=f"line {error.lineno or 1}: {error.msg}")
    except (ValueError, RecursionError, MemoryError) as error:
        return CodeFacts(sha256=digest, fault=f"it cannot be parsed: {error}")
    found: dict[str, Definition] = {}
    for node in tree.body:
        found |= _defined(node)
    return CodeFacts(sha256=digest, definitions=found)


def _defined(node: ast.stmt) -> dict[str, Definition]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return {node.name: _function(node)}
    if isinstance(node, ast.ClassDef):
        return {node.name: _class(node)}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).partition(".")[0]: Definition(line=node.lineno, kind="name") for alias in node.names}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id: Definition(line=node.lineno, kind="name") for target in targets if isinstance(target, ast.Name)}


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Definition:
    given = node.args
    positional = [*given.posonlyargs, *given.args]
    free = len(positional) - len(given.defaults)
    parameters = [_parameter(one, at < free, False) for at, one in enumerate(positional)]
    parameters += [_parameter(one, default is None, True) for one, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    kind = "async function" if isinstance(node, ast.AsyncFunctionDef) else "function"
    return Definition(line=node.lineno, kind=kind, parameters=tuple(parameters), takes_any=given.kwarg is not None)


def _parameter(one: ast.arg, required: bool, keyword_only: bool) -> Parameter:
    return Parameter(name=one.arg, annotation=ast.unparse(one.annotation) if one.annotation else "", required=required, keyword_only=keyword_only)


def _class(node: ast.ClassDef) -> Definition:
    methods = {inner.name: _function(inner) for inner in node.body if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)}
    attributes = tuple(
        Parameter(name=inner.target.id, annotation=ast.unparse(inner.annotation), required=False)
        for inner in node.body
        if isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name) and inner.value is not None
    )
    made = methods.get("__init__")
    return Definition(
        line=node.lineno, kind="class", parameters=made.parameters[1:] if made else (), takes_any=made.takes_any if made else False,
        bases=len(node.bases), methods=methods, attributes=attributes,
    )  # fmt: skip
