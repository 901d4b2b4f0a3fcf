"""Only a checkpoint whose every byte is as it was sealed is gone on from."""

from pathlib import Path

import pytest

from entrypoint.run.checkpoints import clear_the_way, newest_valid, remove_old, seal_checkpoint
from schemas.manifest import Manifest

MANIFEST = Manifest(stage="checkpoint", name="tiny", identity="", request="", job={}, program="0.1.0", files=())


def write(folder: Path, step: int, *, sealed: bool = True) -> Path:
    """A checkpoint of some files, as the trainer leaves them."""
    draft = folder / (f"checkpoint-{step}" if sealed else f"step-{step}")
    (draft / "sub").mkdir(parents=True)
    (draft / "model.safetensors").write_bytes(bytes(range(256)) * 20)
    (draft / "sub" / "optimizer.pt").write_bytes(f"step {step}".encode() * 50)
    return seal_checkpoint(draft, step, MANIFEST) if sealed else draft


def flip(path: Path, at: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << bit
    path.write_bytes(content)


def newest(folder: Path) -> tuple[str | None, list[str]]:
    said: list[str] = []
    found = newest_valid(folder, said.append)
    return found.name if found else None, said


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
    path = write(tmp_path, 2) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    assert newest(tmp_path) == ("step-1", [f"  passes over step-2: model.safetensors has {length} bytes, 5120 were sealed"])


@pytest.mark.parametrize(("at", "bit"), [(0, 0), (2500, 7), (5119, 3)])
def test_a_flipped_bit_is_passed_over(tmp_path: Path, at: int, bit: int) -> None:
    write(tmp_path, 1)
    flip(write(tmp_path, 2) / "model.safetensors", at, bit)
    assert newest(tmp_path) == ("step-1", ["  passes over step-2: model.safetensors was altered after it was sealed"])


def test_missing_file_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, 1)
    (write(tmp_path, 2) / "sub" / "optimizer.pt").unlink()
    assert newest(tmp_path) == ("step-1", ["  passes over step-2: sub/optimizer.pt is missing"])


def test_damaged_manifest_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, 1)
    flip(write(tmp_path, 2) / "manifest.json", 0)
    assert newest(tmp_path) == ("step-1", ["  passes over step-2: it was never sealed"])


def test_several_and_then_none(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        flip(write(tmp_path, step) / "model.safetensors", 9)
    found, said = newest(tmp_path)
    assert found is None
    assert [line.split()[2] for line in said] == ["step-3:", "step-2:", "step-1:"]


def test_the_same_step_again_replaces_the_older_one(tmp_path: Path) -> None:
    (write(tmp_path, 7) / "model.safetensors").write_bytes(b"old")
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
    flip(tmp_path / "step-9" / "model.safetensors", 5)
    clear_the_way(tmp_path, newest_valid(tmp_path, lambda _: None))
    assert sorted(p.name for p in tmp_path.iterdir()) == [".damaged-step-9", "step-3", "step-6"]
    remove_old(tmp_path, 2)
    assert newest(tmp_path) == ("step-6", [])


def test_nothing_valid_sets_all_aside(tmp_path: Path) -> None:
    flip(write(tmp_path, 2) / "model.safetensors", 5)
    clear_the_way(tmp_path, None)
    assert [p.name for p in tmp_path.iterdir()] == [".damaged-step-2"]
