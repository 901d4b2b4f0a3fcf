"""Only a checkpoint whose every byte is as it was sealed is gone on from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kept_checkpoints import MANIFEST, NOTES, TENSORS, WORK, edit, flip, newest, write

from entrypoint.run.checkpoints import clear_the_way, newest_sealed, newest_valid, remove_old, training_of, valid_at
from schemas.errors import MachineError
from schemas.manifest import File

MORE = "its manifest lists rank-00001.safetensors, but 1 process(es) wrote it"


def test_none(tmp_path: Path) -> None:
    assert newest(tmp_path) == (None, [])
    assert newest(tmp_path / "not-there") == (None, [])


def test_newest_by_number_not_by_name(tmp_path: Path) -> None:
    for step in (5, 10, 100, 20):
        write(tmp_path, step)
    assert newest(tmp_path) == ("step-100", [])


def test_unsealed_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, 1)
    write(tmp_path, 2, sealed=False)
    assert newest(tmp_path) == ("step-1", ["  passes over step-2: it was never sealed"])


def test_half_written_is_not_looked_at(tmp_path: Path) -> None:
    write(tmp_path, 1)
    (tmp_path / "checkpoint-2").mkdir()
    assert newest(tmp_path) == ("step-1", [])


@pytest.mark.parametrize("length", [0, 1, 2560, 5119])
def test_truncated_is_passed_over(tmp_path: Path, length: int) -> None:
    write(tmp_path, 1)
    path = write(tmp_path, 2) / TENSORS
    path.write_bytes(path.read_bytes()[:length])
    assert newest(tmp_path) == ("step-1", [f"  passes over step-2: {TENSORS} has {length} bytes, 5120 were sealed"])


@pytest.mark.parametrize(("at", "bit"), [(0, 0), (2500, 7), (5119, 3)])
def test_a_flipped_bit_is_passed_over(tmp_path: Path, at: int, bit: int) -> None:
    write(tmp_path, 1)
    flip(write(tmp_path, 2) / TENSORS, at, bit)
    assert newest(tmp_path) == ("step-1", [f"  passes over step-2: {TENSORS} was altered after it was sealed"])


def test_missing_file_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, 1)
    (write(tmp_path, 2) / NOTES).unlink()
    assert newest(tmp_path) == ("step-1", [f"  passes over step-2: {NOTES} is missing"])


def test_damaged_manifest_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, 1)
    flip(write(tmp_path, 2) / "manifest.json", 0)
    assert newest(tmp_path) == ("step-1", ["  passes over step-2: its manifest cannot be understood"])


def test_several_and_then_none(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        flip(write(tmp_path, step) / TENSORS, 9)
    found, said = newest(tmp_path)
    assert found is None
    assert [line.split()[2] for line in said] == ["step-3:", "step-2:", "step-1:"]


def test_the_same_step_again_replaces_the_older_one(tmp_path: Path) -> None:
    (write(tmp_path, 7) / TENSORS).write_bytes(b"old")
    write(tmp_path, 7)
    assert newest(tmp_path) == ("step-7", [])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-7"]


def test_remove_old(tmp_path: Path) -> None:
    for step in (5, 10, 100, 20):
        write(tmp_path, step)
    remove_old(tmp_path, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-100", "step-20"]
    remove_old(tmp_path, 5)
    assert len(list(tmp_path.iterdir())) == 2


def test_remove_old_leaves_other_folders(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-3").mkdir()
    (tmp_path / "notes").mkdir()
    write(tmp_path, 5)
    remove_old(tmp_path, 1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-3", "notes", "step-5"]


def test_what_was_passed_over_no_longer_counts(tmp_path: Path) -> None:
    for step in (3, 6, 9):
        write(tmp_path, step)
    (tmp_path / ".partial-step-12").mkdir()
    flip(tmp_path / "step-9" / TENSORS, 5)
    clear_the_way(tmp_path, newest_valid(tmp_path, WORK, lambda _: None))
    assert sorted(p.name for p in tmp_path.iterdir()) == [".damaged-step-9", "step-3", "step-6"]
    remove_old(tmp_path, 2)
    assert newest(tmp_path) == ("step-6", [])


def test_the_best_is_spared_and_found_again(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        write(tmp_path, step)
    remove_old(tmp_path, 2, spare=1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-1", "step-3", "step-4"]
    assert valid_at(tmp_path, 1, WORK) == tmp_path / "step-1"
    assert valid_at(tmp_path, 1, "f" * 16) is None, "of another training"
    assert valid_at(tmp_path, 2, WORK) is None
    flip(tmp_path / "step-1" / TENSORS, 5)
    assert valid_at(tmp_path, 1, WORK) is None


def test_nothing_valid_sets_all_aside(tmp_path: Path) -> None:
    flip(write(tmp_path, 2) / TENSORS, 5)
    clear_the_way(tmp_path, None)
    assert [p.name for p in tmp_path.iterdir()] == [".damaged-step-2"]


def test_newest_sealed_takes_names_and_sizes_for_it(tmp_path: Path) -> None:
    assert newest_sealed(tmp_path / "not-there", WORK) is None
    for step in (5, 10, 20):
        write(tmp_path, step)
    write(tmp_path, 30, sealed=False)
    (tmp_path / "step-20" / TENSORS).write_bytes(b"cut")
    found = newest_sealed(tmp_path, WORK)
    assert found is not None
    assert (found[0], found[1].stage) == (10, "checkpoint")


def test_of_another_training_is_passed_over(tmp_path: Path) -> None:
    """As somebody copies it: whole in every byte, and other weights."""
    write(tmp_path, 1)
    write(tmp_path, 2, manifest=MANIFEST.model_copy(update={"identity": "f" * 16}))
    assert newest(tmp_path) == ("step-1", ["  passes over step-2: it belongs to another training"])
    found = newest_sealed(tmp_path, WORK)
    assert found is not None
    assert found[0] == 1, "the plan says what training will do"


def test_other_artifacts_are_no_checkpoints(tmp_path: Path) -> None:
    write(tmp_path, 2, manifest=MANIFEST.model_copy(update={"stage": "train"}))
    assert newest(tmp_path)[0] is None


def test_work_id_is_the_name_of_the_folder() -> None:
    assert training_of(Path("/store/n/train") / f".partial-{WORK}" / "checkpoints") == WORK


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda files: (), "its manifest does not list state.json"),
        (lambda files: [f for f in files if f.path != TENSORS], f"its manifest does not list {TENSORS}"),
        (lambda files: [f for f in files if f.path != NOTES], f"its manifest does not list {NOTES}"),
        (lambda files: [*files, files[0].model_copy(update={"path": "rank-00001.safetensors"})], MORE),
    ],
    ids=["nothing", "no tensors", "no notes", "one more"],
)
def test_a_list_that_is_not_the_trainer_s_is_passed_over(tmp_path: Path, change: Callable[[tuple[File, ...]], Any], why: str) -> None:
    write(tmp_path, 1)
    edit(write(tmp_path, 2), lambda made: made.model_copy(update={"files": tuple(change(made.files))}))
    assert newest(tmp_path) == ("step-1", [f"  passes over step-2: {why}"])


@pytest.mark.parametrize("ranks", [None, 0, -1, "1", 10**9])
def test_a_count_of_processes_that_cannot_be_is_passed_over(tmp_path: Path, ranks: object) -> None:
    edit(write(tmp_path, 2), lambda made: made.model_copy(update={"job": {"ranks": ranks}}))
    assert newest(tmp_path)[0] is None


def test_every_process_s_files_are_listed(tmp_path: Path) -> None:
    two = MANIFEST.model_copy(update={"job": {"ranks": 2}})
    write(tmp_path, 1, manifest=two, ranks=2)
    write(tmp_path, 2, manifest=two, ranks=1)
    assert newest(tmp_path) == ("step-1", ["  passes over step-2: its manifest does not list rank-00001.safetensors"])


def test_what_lies_beside_the_listed_files_is_no_fault(tmp_path: Path) -> None:
    """Nobody reads it."""
    (write(tmp_path, 2) / "rank-00009.safetensors").touch()
    assert newest(tmp_path) == ("step-2", [])


@pytest.mark.parametrize("closed", ["", TENSORS, "manifest.json"])
def test_one_that_may_not_be_read_stops_the_run_before_it_starts(users_folder: Path, closed: str) -> None:
    """It may be whole: passing over it would throw its steps away, and the owner is soon mended."""
    write(users_folder, 1)
    path = write(users_folder, 2) / closed
    path.chmod(0)
    with pytest.raises(MachineError) as caught:
        newest(users_folder)
    assert str(path) in caught.value.what
    assert caught.value.fix == "give the store to uid 10001: chown -R 10001:10001"
    if closed != TENSORS:  # the plan reads no tensors
        with pytest.raises(MachineError):
            newest_sealed(users_folder, WORK)
