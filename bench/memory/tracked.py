"""Live bytes of a device's storages, counted as operations make and drop them; works on fake tensors and on real ones."""

import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

BLOCK = 512
"""Bytes that the CUDA allocator rounds to."""


class LiveBytes(TorchDispatchMode):
    """Counts each storage once, from the operation that returns it until nothing refers to it. `peak` is of all moments since `mark`."""

    def __init__(self, device: str):
        super().__init__()
        self.device, self.live, self.peak, self.seen = device, 0, 0, {}
        self.at = ""
        """The operation at the peak."""

    def add(self, tensors: Iterator[Any]) -> None:
        """Storages that exist already."""
        for tensor in tensors:
            if isinstance(tensor, torch.Tensor) and tensor.device.type == self.device:
                self._see(tensor, "made before")

    def mark(self) -> int:
        """The peak so far; the next begins at what lives now."""
        found, self.peak = self.peak, self.live
        return found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor) and leaf.device.type == self.device:
                self._see(leaf, str(func))
        return out

    def _see(self, tensor: torch.Tensor, name: str) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self.seen:
            return
        size = -(-storage.nbytes() // BLOCK) * BLOCK
        self.seen[key] = size
        weakref.finalize(storage, self._gone, key)
        self.live += size
        if self.live > self.peak:
            self.peak, self.at = self.live, name

    def _gone(self, key: int) -> None:
        self.live -= self.seen.pop(key, 0)


class CudaBytes:
    """The same of a real GPU, as its allocator counts them."""

    at = ""

    @property
    def live(self) -> int:
        """Bytes handed out now."""
        return torch.cuda.memory_allocated()

    def add(self, tensors: Iterator[Any]) -> None:
        """Nothing to do: the allocator knows them."""

    def mark(self) -> int:
        """The peak so far; the next begins at what lives now."""
        torch.cuda.synchronize()
        found = torch.cuda.max_memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        return found

    def __enter__(self) -> "CudaBytes":
        return self

    def __exit__(self, *_: object) -> None:
        pass
