"""What else may lie in a folder of checkpoints: it is left alone, or is no obstacle."""

from pathlib import Path

import pytest
from kept_checkpoints import TENSORS, WORK, flip, newest, write

from entrypoint.run.checkpoints import clear_the_way, newest_sealed, newest_valid, remove_old
from schemas.errors import MachineError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of checkpoints with nothing beside it."""
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


@pytest.mark.parametrize("name", ["step-\u00b2", "step-\u0663", "step-10.mine", "step-", "step--1", "step-007", "step-1e3", "step-" + "9" * 40])
@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_is_not_ours_is_left_alone(folder: Path, name: str, kind: str) -> None:
    for step in (1, 2, 3):
        write(folder, step)
    put(folder / name, kind)
    assert newest(folder) == ("step-3", [])
    clear_the_way(folder, folder / "step-3")
    remove_old(folder, 1)
    assert sorted(p.name for p in folder.iterdir()) == sorted(["step-3", name])


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_has_the_name_of_a_checkpoint_and_is_none(folder: Path, kind: str) -> None:
    """It is neither read nor removed, and it does not stop the next save of that step."""
    for step in (1, 2):
        write(folder, step)
    put(folder / "step-9", kind)
    assert newest(folder) == ("step-2", [])
    clear_the_way(folder, folder / "step-2")
    remove_old(folder, 1)
    assert (folder / "step-9").exists()
    write(folder, 9)
    assert newest(folder) == ("step-9", [])
    assert (folder / ".damaged-step-9").exists()
    assert (folder.parent / "elsewhere" / "kept").exists() is (kind == "link")


@pytest.mark.parametrize("kind", ["file", "link", "folder"])
@pytest.mark.parametrize("name", [".partial-step-11", ".damaged-step-2"])
def test_left_overs_of_another_kind_are_no_obstacle(folder: Path, name: str, kind: str) -> None:
    write(folder, 1)
    flip(write(folder, 2) / TENSORS, 5)
    put(folder / name, kind)
    clear_the_way(folder, newest_valid(folder, WORK, lambda _: None))
    assert sorted(p.name for p in folder.iterdir()) == [".damaged-step-2", "step-1"]
    assert (folder / ".damaged-step-2" / TENSORS).exists()
    assert (folder.parent / "elsewhere" / "kept").exists() is (kind == "link")


def test_a_file_where_the_folder_belongs(tmp_path: Path) -> None:
    (tmp_path / ".partial-x").touch()
    with pytest.raises(MachineError, match=r"\.partial-x is no folder"):
        newest_sealed(tmp_path / ".partial-x" / "checkpoints", WORK)


def test_a_folder_that_takes_no_save_is_said_before_any_step(users_folder: Path) -> None:
    folder = users_folder / "checkpoints"
    folder.mkdir()
    write(folder, 1)
    folder.chmod(0o555)
    with pytest.raises(MachineError, match="checkpoints may not be used"):
        clear_the_way(folder, folder / "step-1")


def put(path: Path, kind: str) -> None:
    """A folder, a file, or a link to a folder elsewhere that holds a file."""
    if kind == "folder":
        path.mkdir()
    elif kind == "file":
        path.touch()
    else:
        elsewhere = path.parent.parent / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "kept").touch()
        path.symlink_to(elsewhere)
