"""The manifest is written last, says every byte, and nothing that was changed passes for whole."""

import hashlib
import os
from pathlib import Path

import pytest

from entrypoint.run.seal import faults, flush_folder, publish, read_manifest, seal, sha256, write_durably
from schemas.manifest import Manifest

EMPTY = Manifest(stage="export", name="n", identity="a" * 64, request="b" * 64, job={"x": 1}, program="0.1.0", files=())


def make(folder: Path) -> Manifest:
    """A sealed folder with two files, one of them below another."""
    draft = folder / ".partial-x"
    (draft / "sub").mkdir(parents=True)
    (draft / "b.txt").write_bytes(b"hello")
    (draft / "sub" / "a.bin").write_bytes(bytes(100))
    return seal(draft, folder / "x", EMPTY)


def test_seal_describes_every_file(tmp_path: Path) -> None:
    sealed = make(tmp_path)
    assert [(f.path, f.bytes) for f in sealed.files] == [("b.txt", 5), ("sub/a.bin", 100)]
    assert sealed.files[0].sha256 == hashlib.sha256(b"hello").hexdigest()
    assert sealed.finished_at.endswith("+00:00")
    assert read_manifest(tmp_path / "x") == sealed
    assert faults(tmp_path / "x", sealed, hashes=True) == []
    assert not (tmp_path / ".partial-x").exists()
    assert sorted(p.name for p in (tmp_path / "x").iterdir()) == ["b.txt", "manifest.json", "sub"], "no draft is left"


def test_same_bytes_same_content(tmp_path: Path) -> None:
    one, two = make(tmp_path / "1"), make(tmp_path / "2")
    assert one.content == two.content
    other = one.model_copy(update={"files": one.files[:1]})
    assert other.content != one.content
    assert one.model_copy(update={"finished_at": "later", "identity": "z"}).content == one.content


def test_manifest_of_an_earlier_attempt_is_not_a_file_of_the_artifact(tmp_path: Path) -> None:
    draft = tmp_path / ".partial-x"
    draft.mkdir()
    (draft / "manifest.json").write_text("{}")
    assert seal(draft, tmp_path / "x", EMPTY).files == ()


def test_seal_does_not_replace_what_is_there(tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(OSError, match="not empty"):
        make(tmp_path)


def test_two_seals_in_a_row_differ_in_nothing_but_time(tmp_path: Path) -> None:
    one, two = make(tmp_path / "1"), make(tmp_path / "2")
    assert one.model_copy(update={"finished_at": ""}) == two.model_copy(update={"finished_at": ""})


@pytest.mark.parametrize(
    ("harm", "said", "seen_without_hashes"),
    [
        (lambda f: (f / "b.txt").unlink(), "b.txt is missing", True),
        (lambda f: (f / "b.txt").write_bytes(b"hell"), "b.txt has 4 bytes, 5 were sealed", True),
        (lambda f: (f / "b.txt").write_bytes(b"hello!"), "b.txt has 6 bytes, 5 were sealed", True),
        (lambda f: (f / "b.txt").write_bytes(b"jello"), "b.txt was altered after it was sealed", False),
        (lambda f: (f / "sub" / "a.bin").write_bytes(bytes(99) + b"\x01"), "sub/a.bin was altered after it was sealed", False),
        (lambda f: ((f / "b.txt").unlink(), (f / "b.txt").mkdir()), "b.txt is missing", True),
    ],
    ids=["missing", "shorter", "longer", "altered", "last byte", "a folder instead"],
)
def test_faults(tmp_path: Path, harm, said: str, seen_without_hashes: bool) -> None:
    sealed = make(tmp_path)
    harm(tmp_path / "x")
    assert faults(tmp_path / "x", sealed, hashes=True) == [said]
    assert faults(tmp_path / "x", sealed, hashes=False) == ([said] if seen_without_hashes else [])


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"\xff\xfe", b'{"version": 2}', b"null"], ids=str)
def test_unreadable_manifest_is_none(tmp_path: Path, content: bytes | None) -> None:
    make(tmp_path)
    (tmp_path / "x" / "manifest.json").unlink()
    if content is not None:
        (tmp_path / "x" / "manifest.json").write_bytes(content)
    assert read_manifest(tmp_path / "x") is None


def test_truncated_manifest_is_none(tmp_path: Path) -> None:
    make(tmp_path)
    path = tmp_path / "x" / "manifest.json"
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 40):
        path.write_bytes(whole[:length])
        assert read_manifest(tmp_path / "x") is None


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert sha256(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_write_durably_replaces_and_leaves_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_durably(path, "one")
    write_durably(path, "zwei ☂")
    assert path.read_text(encoding="utf-8") == "zwei ☂"
    assert os.listdir(tmp_path) == ["a.json"]  # noqa: PTH208 - hidden files too


def test_flush_folder_of_nothing(tmp_path: Path) -> None:
    flush_folder(tmp_path)
    with pytest.raises(FileNotFoundError):
        flush_folder(tmp_path / "not-there")


def test_who_sees_the_new_text_may_rename_the_folder_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So does the rank that seals what another has just listed."""
    replace = Path.replace

    def replaced_and_renamed(draft: Path, path: Path) -> Path:
        done = replace(draft, path)
        path.parent.rename(tmp_path / "sealed")
        return done

    (tmp_path / "partial").mkdir()
    monkeypatch.setattr(Path, "replace", replaced_and_renamed)
    write_durably(tmp_path / "partial" / "list.json", "all of it")
    assert (tmp_path / "sealed" / "list.json").read_text() == "all of it"


def test_what_is_published_is_flushed_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut the name must not stand for files of which nothing reached the disk."""
    flush, flushed = os.fsync, []

    def noted(descriptor: int) -> None:
        flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115 - a descriptor's name
        flush(descriptor)

    (tmp_path / "draft" / "sub").mkdir(parents=True)
    (tmp_path / "draft" / "a").write_text("1")
    (tmp_path / "draft" / "sub" / "b").write_text("2")
    monkeypatch.setattr(os, "fsync", noted)
    publish(tmp_path / "draft", tmp_path / "final")
    drafts = [str(tmp_path / "draft" / name) for name in ("a", "sub/b", "sub", "")]
    assert flushed == [*(name.rstrip("/") for name in drafts), str(tmp_path)], "files, folders from the inside out, and after the rename its folder"
    assert (tmp_path / "final" / "sub" / "b").read_text() == "2"
