"""A full disk is told from other errors; test_fetch.py and test_execute.py run a leaf as a process."""

import errno
import os
from pathlib import Path

import pytest

from entrypoint.run.leaf import broken_disk, is_disk_full, run_leaf
from schemas.job import FetchJob, Task


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "x"), True),
        (OSError(errno.EDQUOT, "x"), True),
        (RuntimeError("write(): fd 3 failed with No space left on device"), True),
        (RuntimeError("PytorchStreamWriter failed writing file data/9: file write failed"), True),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 4005440 vs 4005388"), True),
        (RuntimeError("basic_ios::clear: iostream error"), True),
        (caused(ValueError("x"), OSError(errno.ENOSPC, "x")), True),
        (OSError(errno.EACCES, "x"), False),
        (RuntimeError("PytorchStreamReader failed reading zip archive: failed finding central directory"), False),
        (RuntimeError("[enforce fail at inline_container.cc:145] . Writer is closed"), False),
        (RuntimeError("unexpected pos 3"), False),
    ],
    ids=lambda value: str(value)[:40],
)
def test_full_disk_by_its_words(error: BaseException, full: bool) -> None:
    assert is_disk_full(error) is full


@pytest.mark.image
@pytest.mark.parametrize("kind", ["torch", "torch into a stream", "torch of old", "safetensors", "tokenizers", "python"])
@pytest.mark.parametrize("left", [0, 5_000, 1_000_000])
def test_really_full_disk(small_disk: Path, kind: str, left: int) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models

    (small_disk / "fill").write_bytes(bytes(4 * 2**20 - left // 4096 * 4096))
    weights = {f"w{i}": torch.zeros(10_000 + i) for i in range(40)}
    words = {f"word{i}": i for i in range(100_000)}
    with pytest.raises(Exception) as caught, (small_disk / "stream").open("wb") as stream:
        {
            "torch": lambda: torch.save(weights, small_disk / "a"),
            "torch into a stream": lambda: torch.save(weights, stream),
            "torch of old": lambda: torch.save(weights, small_disk / "a", _use_new_zipfile_serialization=False),
            "safetensors": lambda: save_file(weights, small_disk / "a"),
            "tokenizers": lambda: Tokenizer(models.WordLevel(words, unk_token="word0")).save(str(small_disk / "a")),
            "python": lambda: (small_disk / "a").write_bytes(bytes(2**21)),
        }[kind]()
    assert is_disk_full(caught.value), repr(caught.value)


def test_a_disk_that_fails_is_named_with_its_file() -> None:
    try:
        try:
            raise OSError(errno.EIO, os.strerror(errno.EIO), "/store/x")
        except OSError as inner:
            raise RuntimeError("the save failed") from inner
    except RuntimeError as error:
        assert broken_disk(error) == "Input/output error: /store/x"
        assert not is_disk_full(error)


@pytest.mark.parametrize("error", [OSError(errno.ENOENT, "x"), ValueError("Input/output error"), OSError(errno.ENOSPC, "x")], ids=repr)
def test_other_errors_are_no_disk(error: Exception) -> None:
    assert broken_disk(error) == ""


@pytest.mark.parametrize("inside", [True, False])
def test_an_owner_that_changed_under_a_run_ends_it_in_words(
    users_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], inside: bool
) -> None:
    output, elsewhere = users_folder / "output", users_folder / "elsewhere"
    for folder in (output, elsewhere):
        folder.mkdir()
        folder.chmod(0o555)
    events, summary = str(users_folder / "events.jsonl"), str(users_folder / "summary.json")
    task = Task(name="n", job=FetchJob(role="model", sources=("/m",)), inputs={}, output=str(output), events=events, summary=summary)
    (users_folder / "task.json").write_text(task.model_dump_json())
    monkeypatch.setattr("sys.argv", ["leaf", str(users_folder / "task.json")])

    def work(*_: object) -> dict[str, object]:
        (output if inside else elsewhere).joinpath("weights").write_text("x")
        return {}

    with pytest.raises(SystemExit if inside else PermissionError) as caught:
        run_leaf(work)
    if inside:
        assert caught.value.code == 3
        assert "weights may not be used by uid" in capsys.readouterr().err
