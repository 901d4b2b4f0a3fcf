"""Every generator goes on where it was; one that is not put back is noticed."""

import random

import pytest

pytest.importorskip("torch")

import numpy as np
import torch

from entrypoint.run import randomness
from entrypoint.run.fragments import FragmentReader, write_tensors

pytestmark = pytest.mark.image


def draw():
    return random.random(), random.gauss(0, 1), float(np.random.rand()), float(np.random.randn()), torch.rand(3).tolist()


def test_the_same_numbers_again(tmp_path):
    draw()
    tensors, notes = randomness.capture(3)
    expected = draw(), draw()
    write_tensors(tmp_path / "rank-00003.safetensors", {t.key: t.tensor for t in tensors})
    assert (draw(), draw()) != expected
    randomness.restore(3, notes, FragmentReader(tmp_path, ["rank-00003.safetensors"]))
    assert (draw(), draw()) == expected


def test_a_process_that_the_checkpoint_does_not_know_starts_at_a_place_of_its_own():
    drawn = []
    for seed, step, rank in ((17, 4, 2), (17, 4, 2), (17, 4, 3), (17, 6, 2), (18, 4, 2)):
        draw()
        randomness.start_anew(seed, step, rank)
        drawn.append(draw())
    assert drawn[0] == drawn[1]
    assert len({str(d) for d in drawn}) == 4
