"""Tensors come back bit for bit, whatever the pieces that they were written in; what is missing is said."""

import hashlib
from itertools import pairwise

import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file

from entrypoint.run.fragments import NAMES, Fragment, FragmentReader, write_tensors
from schemas.errors import GateRefused

pytestmark = pytest.mark.image


def test_what_is_written_is_safetensors_with_its_hash(tmp_path):
    tensors = {f"weight/{kind}@0": torch.arange(7).to(kind) for kind in NAMES} | {"none/x@0": torch.empty(0)}
    path = tmp_path / "rank-00000.safetensors"
    described = write_tensors(path, tensors)
    assert described.bytes == path.stat().st_size and described.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    read = load_file(path)
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[key], tensors[key]) and read[key].dtype == tensors[key].dtype for key in tensors)


def names(folder):
    return [path.name for path in folder.glob("rank-*")]


def test_only_what_is_named_is_read(tmp_path):
    """Another file may be anybody's, and may be no safetensors at all."""
    for rank in (0, 1):
        write_tensors(tmp_path / f"rank-0000{rank}.safetensors", {"weight/a@0": torch.full((2,), float(rank))})
    (tmp_path / "rank-00009.safetensors").touch()
    assert FragmentReader(tmp_path, ["rank-00000.safetensors"]).read("weight", "a", 0, 2).tolist() == [0, 0]


def test_odd_bits_survive(tmp_path):
    value = torch.tensor([float("nan"), float("-inf"), -0.0, 1e-45])
    write_tensors(tmp_path / "rank-00000.safetensors", {"weight/a@0": value})
    read = FragmentReader(tmp_path, names(tmp_path)).read("weight", "a", 0, 4)
    assert torch.equal(read.view(torch.int32), value.view(torch.int32))


@pytest.mark.parametrize("cuts", [(), (1,), (3, 64), (10, 11, 99)])
def test_pieces_of_several_ranks_are_one_tensor(tmp_path, cuts):
    whole = torch.randn(100)
    edges = [0, *cuts, 100]
    for rank, (low, high) in enumerate(pairwise(edges)):
        piece = Fragment("exp_avg", "layer.a@b/c", low, whole[low:high])
        write_tensors(tmp_path / f"rank-{rank:05d}.safetensors", {piece.key: piece.tensor})
    reader = FragmentReader(tmp_path, names(tmp_path))
    assert reader.kinds("layer.a@b/c") == ["exp_avg"]
    for start, count in ((0, 100), (5, 60), (99, 1)):
        assert torch.equal(reader.read("exp_avg", "layer.a@b/c", start, count), whole[start : start + count])


def test_a_hole_is_refused(tmp_path):
    write_tensors(tmp_path / "rank-00000.safetensors", {"weight/a@0": torch.zeros(4), "weight/a@6": torch.zeros(4)})
    with pytest.raises(GateRefused, match="holds 8 of 10 elements of weight of a"):
        FragmentReader(tmp_path, names(tmp_path)).read("weight", "a", 0, 10)
    with pytest.raises(GateRefused, match="holds 0 of 1 elements"):
        FragmentReader(tmp_path, names(tmp_path)).read("weight", "b", 0, 1)
