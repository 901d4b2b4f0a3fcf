"""The state of every random generator of this process, without pickles."""

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


def restore(rank: int, notes: dict[str, Any], reader: FragmentReader) -> None:
    """Put every generator of this rank back."""
    given = notes["random"]
    version, state, gauss = given["python"]
    random.setstate((version, tuple(state), gauss))
    kind, keys, position, has_gauss, cached = given["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(reader.read("random", f"torch.{rank}", 0, torch.get_rng_state().numel()))
    if torch.cuda.is_available():
        torch.cuda.set_rng_state(reader.read("random", f"cuda.{rank}", 0, torch.cuda.get_rng_state().numel()))
