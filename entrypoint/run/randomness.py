"""The state of every random generator of this process, without pickles."""

import hashlib
import random
from typing import Any

import numpy as np
import torch

from entrypoint.run.fragments import Fragment, FragmentReader


def capture(rank: int) -> tuple[list[Fragment], dict[str, Any]]:
    """Generators of torch as tensors, of Python and numpy as JSON."""
    tensors = [Fragment("random", f"torch.{rank}", 0, torch.get_rng_state())]
    if torch.cuda.is_available():
        tensors.append(Fragment("random", f"cuda.{rank}", 0, torch.cuda.get_rng_state()))
    version, state, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state()
    notes = {"python": [version, list(state), gauss], "numpy": [kind, keys.tolist(), int(position), int(has_gauss), float(cached)]}
    return tensors, {"random": notes}


def now() -> tuple[Any, ...]:
    """The same, to be put back in this process."""
    return torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_available() else None, random.getstate(), np.random.get_state()


def put_back(state: tuple[Any, ...]) -> None:
    """Generators as they were at `now`."""
    on_cpu, on_gpu, python, arrays = state
    torch.set_rng_state(on_cpu)
    if on_gpu is not None:
        torch.cuda.set_rng_state(on_gpu)
    random.setstate(python)
    np.random.set_state(arrays)


def start_anew(seed: int, step: int, rank: int) -> None:
    """Generators of a process that the checkpoint of `step` knows nothing of: a fixed start, another one for each."""
    start = int.from_bytes(hashlib.sha256(f"{seed}/{step}/{rank}".encode()).digest()[:4], "little")
    random.seed(start)
    np.random.seed(start)
    torch.manual_seed(start)  # of every device


def restore(rank: int, notes: dict[str, Any], reader: FragmentReader) -> None:
    """Put every generator of this rank back."""
    given = notes["random"]
    version, state, gauss = given["python"]
    random.setstate((version, tuple(state), gauss))
    kind, keys, position, has_gauss, cached = given["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(reader.read("random", f"torch.{rank}", 0, torch.get_rng_state().numel()))
    if torch.cuda.is_available() and reader.kinds(f"cuda.{rank}"):  # a checkpoint of a CPU has none
        torch.cuda.set_rng_state(reader.read("random", f"cuda.{rank}", 0, torch.cuda.get_rng_state().numel()))
