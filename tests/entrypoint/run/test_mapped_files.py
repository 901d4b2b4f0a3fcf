"""Files that are memory: they hold what is written, leave nothing behind, and say when the disk does not take it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from entrypoint.run.mapped_files import PAGE, MappedFiles
from schemas.errors import MachineError

pytestmark = pytest.mark.image

SMALL = "/small"
"""A file system of 4 MiB: tests/image/run.sh."""


def test_they_hold_what_is_written_and_have_no_name(tmp_path):
    files = MappedFiles(tmp_path / "new")
    made = files.zeros(1_000_000, torch.float32)
    assert not made.any() and list((tmp_path / "new").iterdir()) == []
    made.copy_(torch.arange(1_000_000))
    files.check()
    assert torch.equal(made, torch.arange(1_000_000, dtype=torch.float32))
    assert _mapped_bytes(tmp_path / "new") == 4_000_000 // PAGE * PAGE + PAGE, "it is the file that is written to"


def test_a_copy_is_of_the_same_shape_and_apart_from_what_it_was_made_of(tmp_path):
    of = torch.randn(300, 40, dtype=torch.bfloat16)
    made = MappedFiles(tmp_path).copy(of)
    assert torch.equal(made, of) and made.dtype == of.dtype
    made.zero_()
    assert of.any()


def test_what_is_smaller_than_a_page_stays_in_memory(tmp_path):
    files = MappedFiles(tmp_path)
    assert files.zeros(PAGE // 4 - 1, torch.float32).numel() == PAGE // 4 - 1 and files.made == []
    files.zeros(PAGE // 4, torch.float32)
    assert len(files.made) == 1


def test_a_disk_that_is_full_is_said_before_anything_is_written():
    free = os.statvfs(SMALL).f_bavail * os.statvfs(SMALL).f_bsize
    files = MappedFiles(Path(SMALL))
    with pytest.raises(MachineError, match=r"hardware\.offload: nvme needs 0\.01 GiB more under /small, 0\.00 GiB are free"):
        files.zeros(2 * free // 4, torch.float32)
    assert os.statvfs(SMALL).f_bavail * os.statvfs(SMALL).f_bsize == free, "what was begun is given back"


def test_a_process_that_is_killed_leaves_nothing():
    free = os.statvfs(SMALL).f_bavail
    code = (
        "import os, signal, torch; from pathlib import Path; from entrypoint.run.mapped_files import MappedFiles; made = MappedFiles(Path('/small')).zeros(400_000, torch.float32); "
        "made.fill_(1); print(os.statvfs('/small').f_bavail, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -9 and int(done.stdout) < free, done.stderr
    assert os.statvfs(SMALL).f_bavail == free and list(Path(SMALL).iterdir()) == []


def test_what_the_disk_did_not_take_is_an_error():
    """A mapping that is gone stands for a disk that fails: msync refuses both. In a process of its own, which ends before torch misses it."""
    code = (
        "import ctypes, os, torch; from pathlib import Path; from entrypoint.run.mapped_files import MappedFiles; files = MappedFiles(Path('/small')); "
        "made = files.zeros(400_000, torch.float32); files.check(); print('taken', flush=True)\n"
        "ctypes.CDLL(None).munmap(ctypes.c_void_p(made.data_ptr()), ctypes.c_size_t(1_600_000))\n"
        "try: files.check()\nexcept OSError as failure: print(failure, flush=True)\nos._exit(0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("taken\n") and "the disk did not take what hardware.offload wrote: " in done.stdout, done.stdout


def _mapped_bytes(folder):
    """Of files in a folder that have no name."""
    found = 0
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        if str(folder) in line and line.endswith("(deleted)"):
            low, high = (int(part, 16) for part in line.split()[0].split("-"))
            found += high - low
    return found
