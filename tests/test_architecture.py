"""Who may import whom, who may look at what, and how large a file may be: docs/decisions/001-skeleton.md and the design, section 4."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from tested_elsewhere import ELSEWHERE

import schemas

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(p for package in ("schemas", "entrypoint") for p in (ROOT / package).rglob("*.py"))

MAX_FILE, MAX_FUNCTION = 300, 80
SINKS = {"utils", "util", "common", "helpers", "misc", "extras"}

HEAVY = {
    "torch", "transformers", "trl", "peft", "accelerate", "deepspeed", "bitsandbytes", "datasets", "vllm", "lmdeploy", "uvicorn", "uvloop", "numpy", "pyarrow",
    "safetensors", "tokenizers", "llmcompressor", "compressed_tensors", "gguf", "jinja2", "huggingface_hub", "modelscope", "modelscope_hub", "requests", "wandb", "swanlab", "mlflow",
}  # fmt: skip
WORLD = {
    "os",
    "subprocess",
    "socket",
    "time",
    "random",
    "urllib",
    "http",
    "datetime",
    "shutil",
    "tempfile",
    "threading",
    "multiprocessing",
    "signal",
    "secrets",
}
"""Environment, network, clock, chance and processes."""

ENVIRONMENT = {
    "entrypoint.probe.environment": "what this process was told; the probe's other modules ask it",
    "entrypoint.run.ranks": "torchrun's variables",
    "entrypoint.run.launch": "only writes: the ranks inherit it, torch reads it",
    "entrypoint.run.child": "a child inherits this process's environment",
    "entrypoint.run.engine_process": "an engine inherits this process's environment",
    "entrypoint.run.hub_huggingface": "only writes: the hub's library takes its switches from there, in fetch's own process",
    "entrypoint.run.hub_modelscope": "only writes: as above",
    "entrypoint.run.row_stream": "a child inherits a rank's environment without the rank",
    "entrypoint.run.gguf": "only writes: a progress bar switched off before tqdm is imported",
}


def name_of(path: Path) -> str:
    """Dotted name of a source file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {name_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}


def imports_of(name: str) -> set[str]:
    """Every module that a source imports, at its top or inside a function; ours by the name of their file."""
    found: set[str] = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} has a relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & set(TREES)
            found |= inner or {node.module or ""}
    return found


IMPORTS = {name: imports_of(name) for name in TREES}
LEAVES = {
    name
    for name, tree in TREES.items()
    if name.startswith("entrypoint.run.") and any(isinstance(n, ast.If) and ast.unparse(n.test) == "__name__ == '__main__'" for n in tree.body)
}
COMMAND_LINE = (
    "entrypoint",
    "entrypoint.__main__",
    "entrypoint.cli",
    "entrypoint.chain",
    "entrypoint.documents",
    "entrypoint.export_commands",
    "entrypoint.compared",
    "entrypoint.evaluations",
    "entrypoint.exports",
    "entrypoint.facts_files",
    "entrypoint.machines",
    "entrypoint.lock_file",
    "entrypoint.options",
    "entrypoint.process_commands",
    "entrypoint.render",
    "entrypoint.render_report",
    "entrypoint.report_commands",
    "entrypoint.status",
    "entrypoint.doctor",
    "entrypoint.served",
)


def top(module: str) -> str:
    return module.partition(".")[0]


def below(package: str) -> list[str]:
    """The modules of a package, itself included."""
    return sorted(name for name in TREES if name == package or name.startswith(package + "."))


def reached(name: str) -> Iterator[tuple[str, ...]]:
    """Every way from a module through ours to one that is not ours."""
    seen: set[str] = set()
    queue = [(name,)]
    while queue:
        here = queue.pop()
        for module in IMPORTS[here[-1]]:
            if module not in TREES:
                yield (*here, module)
            elif module not in seen:
                seen.add(module)
                queue.append((*here, module))


def test_there_is_something_to_walk() -> None:
    assert len(TREES) > 50
    assert {"entrypoint.run.train", "entrypoint.run.export", "entrypoint.run.fetch", "entrypoint.run.prepare", "entrypoint.run.serve_vllm"} <= LEAVES


@pytest.mark.parametrize("name", below("schemas"))
def test_schemas_know_documents_only(name: str) -> None:
    outside = {top(m) for m in IMPORTS[name]} - {"schemas", "pydantic", "pydantic_core", "ruamel"}
    assert outside - (set(sys.stdlib_module_names) - WORLD) == set()


@pytest.mark.parametrize("name", below("entrypoint.plan"))
def test_planning_is_pure(name: str) -> None:
    allowed = {"dataclasses", "typing", "collections", "difflib", "hashlib", "ipaddress", "json", "math", "pydantic", "schemas"}
    if name == "entrypoint.plan.tables":
        allowed = {"json", "typing", "importlib"}
    assert {m for m in IMPORTS[name] if top(m) not in allowed and m not in below("entrypoint.plan")} == set()
    called = {node.func.id for node in ast.walk(TREES[name]) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert called & {"open", "print", "input", "exec", "eval", "__import__"} == set()


@pytest.mark.parametrize("name", below("entrypoint.probe"))
def test_probe_knows_no_plan(name: str) -> None:
    ours = {"entrypoint", *below("entrypoint.probe")}
    allowed = {"schemas", "psutil"} | set(sys.stdlib_module_names) | ({"pynvml"} if name == "entrypoint.probe.nvidia" else set())
    assert {m for m in IMPORTS[name] if top(m) not in allowed and m not in ours} == set()


def test_one_module_asks_nvml() -> None:
    assert {name for name in TREES if "pynvml" in IMPORTS[name]} == {"entrypoint.probe.nvidia"}


@pytest.mark.parametrize("name", sorted(set(below("entrypoint.run")) - {"entrypoint.run"}))
def test_run_is_told_everything(name: str) -> None:
    ours = {m for m in IMPORTS[name] if top(m) == "entrypoint"}
    assert ours - set(below("entrypoint.run")) - {"entrypoint"} == set(), "the spec, the plan and the command line stay outside"
    assert ours & LEAVES == set(), "a leaf is a process, not a library"
    assert "schemas.spec" not in IMPORTS[name]
    assert "click" not in {top(m) for m in IMPORTS[name]}


@pytest.mark.parametrize("name", COMMAND_LINE)
def test_command_line_reaches_nothing_heavy(name: str) -> None:
    assert [" -> ".join(way) for way in reached(name) if top(way[-1]) in HEAVY] == []
    assert {m for m in IMPORTS[name] if m in LEAVES} == set()


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    code = "import entrypoint.cli, sys, json; print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(ast.literal_eval(said.stdout))
    assert "click" in loaded
    assert loaded & HEAVY == set()


def test_no_cycle() -> None:
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name not in done:
            for module in IMPORTS[name] & set(TREES) - {name}:
                visit(module, (*path, name))
            done.add(name)

    for name in sorted(TREES):
        visit(name, ())


def test_environment_has_few_readers() -> None:
    touched = set()
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            attribute = node.attr if isinstance(node, ast.Attribute) else ""
            imported = {a.name for a in node.names} if isinstance(node, ast.ImportFrom) and node.module == "os" else set()
            if attribute in ("environ", "environb", "getenv", "putenv") or imported & {"environ", "getenv"}:
                touched.add(name)
    assert touched == set(ENVIRONMENT)


BROAD = {
    "entrypoint.run.leaf": "the end of a leaf",
    "entrypoint.run.anatomise": "code of any architecture, run without values: what it raises says that this is not known of it",
    "entrypoint.run.error_form": "whatever an engine raises, its client gets an answer; it is raised again",
    "entrypoint.run.saver": "its thread hands what it catches to the trainer's",
    "entrypoint.run.plugin_code": "whatever a user's code raises is the user's to see; what comes from elsewhere goes on",
    "entrypoint.run.tracker_worker": "whatever a tracker's library raises must not end a training",
}


def test_few_catch_everything() -> None:
    broad = []
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)} if node.type else {"BaseException"}
            raises_on = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            if "Exception" in caught or ("BaseException" in caught and not raises_on):
                broad.append(name)
    assert set(broad) == set(BROAD)


def test_schemas_come_from_this_tree() -> None:
    assert schemas.__file__
    assert Path(schemas.__file__).resolve().is_relative_to(ROOT)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_size(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE
    functions = [n for n in ast.walk(TREES[name_of(path)]) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert {f.name: length for f in functions if (length := (f.end_lineno or 0) - f.lineno + 1) > MAX_FUNCTION} == {}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_says_what_it_is(path: Path) -> None:
    tree = TREES[name_of(path)]
    assert ast.get_docstring(tree), "a module says what it does"
    public = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not n.name.startswith("_")]
    assert [n.name for n in public if not ast.get_docstring(n)] == []
    assert path.stem not in SINKS


def test_every_module_has_its_test() -> None:
    missing = []
    for path in SOURCES:
        name, stem = name_of(path), path.stem if path.stem != "__init__" else path.parent.name
        if (path.stem == "__init__" and not TREES[name].body[1:]) or name in ELSEWHERE or name in ("schemas", "entrypoint", "entrypoint.plan"):
            continue
        folder = ROOT / "tests" / path.relative_to(ROOT).parent
        names = [f"test_{stem}.py", f"test_{path.parent.name}_{stem}.py"]
        if not any((folder / n).is_file() for n in names):
            missing.append(f"{name}: {folder.relative_to(ROOT)}/{names[0]} or {names[1]}")
    assert missing == []
    assert set(ELSEWHERE) - set(TREES) == set(), "an exception for a module that is gone"


def test_names_of_test_files_differ() -> None:
    """There is no package of tests: pytest would take two files of one name for the same module."""
    names = sorted(p.name for p in (ROOT / "tests").rglob("*.py") if p.name != "conftest.py")
    assert [a for a, b in pairwise(names) if a == b] == []
