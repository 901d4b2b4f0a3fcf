"""Tensors in files without a name: mapped into memory, so that the kernel writes out and reads back what memory has no room for."""

import ctypes
import errno
import os
import shutil
import tempfile
from pathlib import Path

import torch

from schemas.errors import MachineError

PAGE = 4096
"""Bytes; a smaller tensor stays in memory."""

MS_SYNC = 4
"""Of msync: until the disk has it."""

GIB = 1024**3


class MappedFiles:
    """Makes tensors that lie in `folder`. No file has a name: its room is free again when the process has ended, however it ended."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.made: list[torch.Tensor] = []

    def zeros(self, count: int, dtype: torch.dtype) -> torch.Tensor:
        """Of shape (count,). Raises MachineError where the disk has no room: all of it is taken now, so that no later write can fail for that."""
        size = count * dtype.itemsize
        if size < PAGE:
            return torch.zeros(count, dtype=dtype)
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.folder, buffering=0) as file:
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as failure:
                if failure.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                free = shutil.disk_usage(self.folder).free
                raise MachineError(
                    f"hardware.offload: nvme needs {size / GIB:.2f} GiB more under {self.folder}, {free / GIB:.2f} GiB are free", "make room there"
                ) from failure
            made = torch.from_file(f"/proc/self/fd/{file.fileno()}", shared=True, size=count, dtype=dtype)
        self.made.append(made)
        return made

    def copy(self, tensor: torch.Tensor) -> torch.Tensor:
        """The same numbers, of the same shape, in a file."""
        made = self.zeros(tensor.numel(), tensor.dtype).view(tensor.shape)
        return made.copy_(tensor.detach())

    def check(self) -> None:
        """Until the disk has taken all that was written. Raises OSError where it could not: what memory let go of may then be lost."""
        library = ctypes.CDLL(None, use_errno=True)
        for tensor in self.made:
            if library.msync(ctypes.c_void_p(tensor.data_ptr()), ctypes.c_size_t(tensor.numel() * tensor.element_size()), MS_SYNC):
                number = ctypes.get_errno()
                raise OSError(number, f"the disk did not take what hardware.offload wrote: {os.strerror(number)}", str(self.folder))
