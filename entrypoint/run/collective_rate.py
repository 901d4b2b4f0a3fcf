"""How fast processes of one machine add up tensors: NCCL between GPUs, gloo between two processes on a CPU."""

import os
import statistics
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed
import torch.multiprocessing

GIB = 2**30
ELEMENTS = {"cuda": 64 * 2**20, "cpu": 4 * 2**20}
"""Of fp32: as large as the buckets that a training sends."""

REPEATS = 7
WARM_UP = 2
PATIENCE = timedelta(seconds=60)


def collective_gib(device: str, ranks: int) -> float | None:
    """Bus bandwidth of an all-reduce as nccl-tests count it, GiB a second: bytes x 2 (n - 1) / n over the median time. None for a single process."""
    if ranks < 2:
        return None
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_rank, args=(device, ranks, folder), nprocs=ranks)
        seconds = float((Path(folder) / "seconds").read_text())
    return 4 * ELEMENTS[device] * 2 * (ranks - 1) / ranks / seconds / GIB


def _rank(rank: int, device: str, ranks: int, folder: str) -> None:
    """One process; the first leaves the median."""
    if device == "cuda":
        torch.cuda.set_device(rank)
    else:
        torch.set_num_threads(1)
    os.chdir(folder)
    # Through a file: a container without a network has no name of its own to meet under. Loopback is there.
    store = torch.distributed.FileStore(f"{folder}/store", ranks)
    torch.distributed.init_process_group("nccl" if device == "cuda" else "gloo", store=store, rank=rank, world_size=ranks, timeout=PATIENCE)
    tensor = torch.ones(ELEMENTS[device], device=device)
    found = []
    for at in range(WARM_UP + REPEATS):
        torch.distributed.barrier()
        began = time.perf_counter()
        torch.distributed.all_reduce(tensor)
        if device == "cuda":
            torch.cuda.synchronize()
        if at >= WARM_UP:
            found.append(time.perf_counter() - began)
    if rank == 0:
        (Path(folder) / "seconds").write_text(str(statistics.median(found)))
    torch.distributed.destroy_process_group()
