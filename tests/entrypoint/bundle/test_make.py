import pytest

from entrypoint.bundle.make import _files, _has, _number, _sources, _written, carried_sources
from schemas.errors import MachineError, UsageError
from schemas.load import load

SPEC = "spec: 1\nname: tiny\nmodel: {source: /models/m}\ndata: {train: [{source: /data/r.jsonl}]}\nmethod: {kind: sft}\n"

PROJECT = """[project]
name = "caisson"
version = "0.1.0"
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[tool.setuptools]
packages = ["schemas", "entrypoint"]
"""


@pytest.fixture
def root(tmp_path):
    for name in ("compose", "specs", "docs", "demo", "setup", "models/m", "entrypoint", "schemas"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a").write_text("x")
    for name in ("LICENSE", "README.md", "CHANGELOG.md", "data/r.jsonl", "spec.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "compose.yaml").write_text("include:\n  - path: [compose/a.yaml]\n")
    return tmp_path


def test_model_and_data_of_the_spec_are_carried(root):
    found = _files(root / "spec.yaml", load(SPEC), root)
    assert {"models/m/a", "data/r.jsonl", "spec.yaml", "compose/a"} <= set(found)


def test_a_source_that_is_not_there_is_said(root):
    (root / "data/r.jsonl").unlink()
    with pytest.raises(MachineError, match=r"r\.jsonl is not there"):
        _files(root / "spec.yaml", load(SPEC), root)


def test_a_name_that_the_manifest_cannot_hold_is_refused(root):
    (root / "models/m/two words").write_text("x")
    with pytest.raises(UsageError, match="two words"):
        _files(root / "spec.yaml", load(SPEC), root)


@pytest.mark.parametrize(("source", "said"), [("hf://a/b", "at a hub"), ("ms://a/b", "at a hub"), ("/data/*.jsonl", "patterns"), ("/data/../x", "patterns")])
def test_what_cannot_be_carried_is_refused(source, said):
    with pytest.raises(UsageError, match=said):
        _sources({"deep": [{"source": source}]})


def test_images_are_pinned_by_id_in_a_lock_that_compose_reads(root):
    written = _written(root, root, {"train": "ab" * 32}, [], {})
    assert f'train: {{ image: "sha256:{"ab" * 32}", pull_policy: never }}' in written["compose/images.lock.yaml"].read_text()
    assert "[compose/a.yaml, compose/images.lock.yaml]" in written["compose.yaml"].read_text()


def test_a_compose_file_without_its_include_is_refused(root):
    (root / "compose.yaml").write_text("services: {}\n")
    with pytest.raises(UsageError, match="include"):
        _written(root, root, {}, [], {})


def test_lines_are_found_whole_or_by_their_words():
    assert _has("image ab 1 x\n", "image ab") and not _has("image abc 1 x\n", "image ab")


def test_a_file_that_is_no_manifest_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no bundle's manifest"):
        _number(tmp_path, "anything\n")


def test_files_of_plug_ins_are_carried_and_installed_ones_are_left_to_the_image(root):
    (root / "data/focal.py").write_text("x")
    spec = load(SPEC + "plugins: {loss: '/data/focal.py:focal', callback: 'package.module:Stop'}\n")
    assert carried_sources(spec) == ["data/focal.py", "data/r.jsonl", "models/m"]
    assert "data/focal.py" in _files(root / "spec.yaml", spec, root)


def test_a_plug_in_that_lies_elsewhere_is_refused():
    with pytest.raises(UsageError, match=r"focal\.py is not below data/"):
        carried_sources(load(SPEC + "plugins: {loss: 'code/focal.py:focal'}\n"))


def test_a_suite_whose_rows_are_at_a_hub_is_refused_by_its_name():
    suites = "evaluate: {suites: [{name: quiz, kind: questions, source: 'hf://a/b'}]}\n"
    with pytest.raises(UsageError, match="the rows of quiz are at hf://a/b"):
        carried_sources(load(SPEC + suites))


def test_a_benchmark_that_names_no_source_is_carried_from_its_usual_place() -> None:
    assert "data/benchmarks/gsm8k" in carried_sources(load(SPEC + "evaluate: {suites: [gsm8k]}\n"))
