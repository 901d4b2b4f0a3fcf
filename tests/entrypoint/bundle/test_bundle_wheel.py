import os
import shutil
import zipfile
from pathlib import Path

import pytest

from entrypoint.bundle.wheel import SOURCES, build_wheel
from schemas.errors import MachineError

ROOT = Path(__file__).parents[3]


def test_two_wheels_of_one_source_are_the_same_bytes_whatever_times_and_modes(tmp_path):
    first = build_wheel(ROOT, tmp_path / "one")
    (tmp_path / "root").mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, tmp_path / "root" / name)
    for path in (tmp_path / "root").rglob("*"):
        os.utime(path, (1e9, 1e9))
        if path.is_file():
            path.chmod(0o600)
    second = build_wheel(tmp_path / "root", tmp_path / "two")
    assert first.name == second.name and first.read_bytes() == second.read_bytes()


def test_it_holds_every_module_and_every_file_that_the_program_reads(tmp_path):
    with zipfile.ZipFile(build_wheel(ROOT, tmp_path / "w")) as wheel:
        held = set(wheel.namelist())
    tree = {p.relative_to(ROOT).as_posix() for name in ("entrypoint", "schemas") for p in (ROOT / name).rglob("*") if p.is_file()}
    tree = {path for path in tree if "__pycache__" not in path}
    assert tree - held == set() and {path for path in held if ".dist-info/" not in path} == tree
    assert any(path.endswith(".dist-info/entry_points.txt") for path in held)


def test_a_source_that_is_no_project_is_said(tmp_path):
    (tmp_path / "pyproject.toml").write_text("not TOML")
    with pytest.raises(MachineError, match="wheel cannot be built"):
        build_wheel(tmp_path, tmp_path / "w")
