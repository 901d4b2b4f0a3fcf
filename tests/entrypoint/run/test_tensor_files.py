"""Shards of bounded size, and that they are read back as they were."""

import json

import pytest

pytest.importorskip("torch")

from entrypoint.run.tensor_files import INDEX, SINGLE, TensorWriter, places, read_all

pytestmark = pytest.mark.image


def written(folder, shard_bytes):
    import torch

    folder.mkdir()
    writer = TensorWriter(folder, shard_bytes)
    tensors = {f"t{i}": torch.full((100,), float(i)) for i in range(7)}
    for name, tensor in tensors.items():
        writer.add(name, tensor)
    return tensors, writer.close()


def test_one_file_where_all_fits(tmp_path):
    import torch

    tensors, size = written(tmp_path / "a", 10_000)
    assert size == 2800 and [p.name for p in (tmp_path / "a").iterdir()] == [SINGLE]
    assert all(torch.equal(tensors[name], tensor) for name, tensor in read_all(tmp_path / "a", places(tmp_path / "a")))


def test_several_files_and_their_index(tmp_path):
    import torch

    tensors, size = written(tmp_path / "a", 1000)
    found = places(tmp_path / "a")
    assert sorted(set(found.values())) == [f"model-{n:05d}-of-00004.safetensors" for n in range(1, 5)]
    assert max(p.stat().st_size for p in (tmp_path / "a").glob("*.safetensors")) < 1300
    index = json.loads((tmp_path / "a" / INDEX).read_text())
    assert index["metadata"]["total_size"] == size and index["weight_map"] == found
    assert all(torch.equal(tensors[name], tensor) for name, tensor in read_all(tmp_path / "a", found))


def test_a_tensor_larger_than_a_file_has_one_of_its_own(tmp_path):
    _, _ = written(tmp_path / "a", 100)
    assert len(set(places(tmp_path / "a").values())) == 7
