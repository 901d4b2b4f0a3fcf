"""Where code lies is found without running any."""

import sys
from pathlib import Path

import pytest

from entrypoint.run.code_files import find_code, look_at_code, version_of


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    assert find_code(str(path)) is None and look_at_code(str(path)) is None
    path.write_text("def f(a, *, b: int = 2): ...\n")
    assert find_code(str(path)) == path and version_of(str(path)) == ""
    found = look_at_code(str(path))
    assert found and [p.name for p in found.definitions["f"].parameters] == ["a", "b"]


def test_a_module_whose_package_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "bursts_when_run"
    (package / "sub").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit(3)\n")
    (package / "part.py").write_text("def f(): ...\n")
    (package / "sub" / "__init__.py").write_text("def g(): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_code("bursts_when_run") == package / "__init__.py"
    assert find_code("bursts_when_run.part") == package / "part.py"
    assert find_code("bursts_when_run.sub") == package / "sub" / "__init__.py"
    assert find_code("bursts_when_run.gone") is None and find_code("no_such_package.x") is None
    found = look_at_code("bursts_when_run.sub")
    assert found and list(found.definitions) == ["g"]
    assert "bursts_when_run" not in sys.modules


def test_the_version_of_a_package() -> None:
    import pydantic

    assert version_of("pydantic.main") == f"pydantic {pydantic.VERSION}"
    assert version_of("json") == ""
