"""A checkpoint is a copy of one moment, sealed behind the trainer; a failed save is not kept quiet."""

import json
import shutil
import threading

import pytest

pytest.importorskip("torch")

import torch

from entrypoint.run import saver as saver_module
from entrypoint.run.checkpoints import newest_valid
from entrypoint.run.fragments import Fragment, FragmentReader
from entrypoint.run.leaf import is_disk_full
from entrypoint.run.saver import Saver, partial_folder
from schemas.manifest import Manifest

pytestmark = pytest.mark.image

MANIFEST = Manifest(stage="checkpoint", name="tiny", identity="w", request="", job={"ranks": 1}, program="0", files=())


def made(folder, rank=0, ranks=1, keep=2):
    return Saver(folder, keep, rank, ranks, lambda step, stalled, seconds: None)


def save(saver, step, tensor):
    saver.save(
        step,
        [Fragment("weight", f"w{saver.rank}", 0, tensor)],
        {"rank": saver.rank},
        {"step": step} if saver.rank == 0 else None,
        MANIFEST.model_copy(update={"job": {"ranks": saver.ranks}}),
    )


def test_what_changes_after_save_is_not_in_it(tmp_path, monkeypatch):
    started, go_on = threading.Event(), threading.Event()
    real = saver_module.write_tensors

    def slow(path, tensors):
        started.set()
        assert go_on.wait(10)
        return real(path, tensors)

    monkeypatch.setattr(saver_module, "write_tensors", slow)
    weights = torch.arange(5.0)
    saver = made(tmp_path)
    history = [{"step": 1}]
    saver.save(1, [Fragment("weight", "w0", 0, weights)], {}, {"history": history}, MANIFEST)
    assert started.wait(10)
    weights += 100  # the training goes on
    history.append({"step": 2})
    go_on.set()
    saver.wait()
    folder = newest_valid(tmp_path, "w", print)
    assert folder.name == "step-1"
    assert FragmentReader(folder).read("weight", "w0", 0, 5).tolist() == [0, 1, 2, 3, 4]
    assert json.loads((folder / "state.json").read_text()) == {"history": [{"step": 1}]}


def test_old_ones_go_only_when_the_new_one_is_sealed(tmp_path):
    saver = made(tmp_path)
    for step in (1, 2, 3):
        save(saver, step, torch.zeros(3))
        saver.wait()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-2", "step-3"]


def test_sealed_only_when_every_rank_has_written(tmp_path):
    first, second = made(tmp_path, 0, 2), made(tmp_path, 1, 2)
    save(first, 4, torch.zeros(2))
    first.thread.join(0.3)
    assert first.thread.is_alive() and not (tmp_path / "step-4").exists()
    save(second, 4, torch.ones(3))
    first.wait()
    second.wait()
    assert FragmentReader(newest_valid(tmp_path, "w", print)).read("weight", "w1", 0, 3).tolist() == [1, 1, 1]


def test_a_failed_save_is_raised_at_the_next_step_and_leaves_the_last_one(tmp_path):
    saver = made(tmp_path)
    save(saver, 1, torch.zeros(3))
    saver.wait()
    partial_folder(tmp_path, 2).write_text("in the way")
    save(saver, 2, torch.zeros(3))
    saver.thread.join()
    with pytest.raises(FileExistsError):
        saver.check()
    saver.check()  # said once
    assert newest_valid(tmp_path, "w", print).name == "step-1"


def test_a_disk_that_fills_is_told_and_the_checkpoint_before_is_whole(small_disk):
    folder = small_disk / "checkpoints"
    saver = made(folder)
    save(saver, 1, torch.zeros(1000))
    saver.wait()
    save(saver, 2, torch.zeros(3_000_000))
    with pytest.raises(OSError) as failed:
        saver.wait()
    assert is_disk_full(failed.value)
    shutil.rmtree(partial_folder(folder, 2))
    assert newest_valid(folder, "w", print).name == "step-1"
    save(saver, 3, torch.zeros(1000))  # there is room again
    saver.wait()
    assert newest_valid(folder, "w", print).name == "step-3"
