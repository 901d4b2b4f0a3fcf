"""What the system refuses below a store, in words that name the path and the remedy; other errors stay ours."""

import os
from pathlib import Path

import pytest

from entrypoint.run.access import CHOWN, check_folder, refused_in_words
from entrypoint.run.seal import write_durably
from schemas.errors import MachineError


def told(place: Path, work) -> MachineError:
    with pytest.raises(MachineError) as caught, refused_in_words(place):
        work()
    return caught.value


def test_a_wrong_owner(users_folder: Path) -> None:
    path = users_folder / "a"
    path.touch(0o400)
    error = told(users_folder, lambda: path.open("w"))
    assert error.what == f"{path} may not be used by uid {os.geteuid()}: Permission denied"
    assert error.fix == CHOWN


@pytest.mark.parametrize(
    ("make", "work", "said"),
    [
        (lambda p: p.mkdir(), lambda p: p.open("a"), "{p} is a folder, which"),
        (lambda p: p.mkdir(), lambda p: write_durably(p, "x"), "{p} is a folder, which"),
        (lambda p: p.touch(), lambda p: (p / "b").mkdir(parents=True), "{p} is no folder, which"),
        (lambda p: p.touch(), lambda p: p.mkdir(exist_ok=True), "{p} is no folder, which"),
        (lambda p: p.touch(), lambda p: list((p / "b" / "c").iterdir()), "{p} is no folder, which"),
        (lambda p: p.symlink_to("nowhere"), lambda p: p.mkdir(exist_ok=True), "{p} is a link, which"),
    ],
)
def test_something_of_another_kind_is_named_and_nobody_told_to_chown(tmp_path: Path, make, work, said: str) -> None:
    make(tmp_path / "a")
    error = told(tmp_path, lambda: work(tmp_path / "a"))
    assert error.what.startswith(said.format(p=tmp_path / "a"))
    assert "chown" not in str(error)


def test_files_elsewhere_and_other_errors_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "a").mkdir()
    with pytest.raises(IsADirectoryError), refused_in_words(tmp_path / "store"):
        (tmp_path / "a").open("a")
    with pytest.raises(FileNotFoundError), refused_in_words(tmp_path):
        (tmp_path / "b").open()


@pytest.mark.parametrize("mode", [0o000, 0o555, 0o666, 0o300])
def test_a_folder_has_to_be_read_written_and_entered(users_folder: Path, mode: int) -> None:
    folder = users_folder / "a"
    folder.mkdir()
    check_folder(folder)
    folder.chmod(mode)
    with pytest.raises(MachineError, match="may not be used"):
        check_folder(folder)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(MachineError, match="a is no folder"):
        check_folder(tmp_path / "a")
