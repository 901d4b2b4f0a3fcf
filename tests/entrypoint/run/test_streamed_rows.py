"""What lies at a position of a stream of parts."""

from itertools import pairwise

import pytest

pytest.importorskip("transformers")
pytest.importorskip("pyarrow")

import numpy as np
from gate_run import attempt, model
from tiny import rows

from entrypoint.run.gate_pass import key_of
from entrypoint.run.shards import read_shards
from entrypoint.run.streamed_rows import StreamedRows
from schemas.errors import MachineError
from schemas.job import Task

pytestmark = pytest.mark.image
__all__ = ["attempt", "model"]

STREAMED = {"validation_share": 0.0, "part_tokens": 2000}


@pytest.fixture
def stream(attempt):
    """400 rows in parts, and a function that opens them."""
    attempt(rows(400), **STREAMED, streaming="head")
    _, output = attempt(rows(400), **STREAMED, streaming="rest")
    job = Task.model_validate_json((output.parent / "task.json").read_text()).job
    assert len(list(output.glob("train-*"))) > 2

    def opened(pack_length=None, seed=17, reach=8, folder=output):
        return StreamedRows(folder, key_of(job), "text", pack_length, seed, 10_000, reach)

    return output, opened


def texts(output):
    """The tokens of each prepared row, in order."""
    return [tuple(shard["ids"][a:b].tolist()) for shard in read_shards(output, "train") for a, b in pairwise(shard["starts"].tolist())]


def test_each_row_once_a_round_in_another_order(stream):
    output, opened = stream
    found = opened()
    first, second = ([tuple(found[at]["input_ids"].tolist()) for at in range(start, start + 400)] for start in (0, 400))
    assert sorted(first) == sorted(second) == sorted(texts(output))
    assert first != texts(output) and first != second, "shuffled, and anew"
    sizes = [len(shard["starts"]) - 1 for shard in read_shards(output, "train")]
    assert sorted(first[: sizes[0]]) == sorted(texts(output)[: sizes[0]]), "the first part comes first"


def test_a_position_is_the_same_from_wherever_one_comes(stream):
    _, opened = stream
    walked, jumped, other = opened(), opened(), opened(seed=18)
    every = [walked[at]["input_ids"].tolist() for at in range(900)]
    assert [jumped[at]["input_ids"].tolist() for at in (350, 399, 401, 899)] == [every[at] for at in (350, 399, 401, 899)]
    assert [other[at]["input_ids"].tolist() for at in range(400)] != every[:400]


def test_a_step_reaches_back_over_many_parts(stream):
    output, opened = stream
    found = opened(reach=400)
    numbers = [found.prepared_rows(at) for at in range(400)]
    assert sorted(n for (n,) in numbers) == list(range(400))
    assert [found.prepared_rows(at) for at in range(400)] == numbers, "asked again, behind all of them"
    assert [texts(output)[n] for (n,) in numbers] == [tuple(found[at]["input_ids"].tolist()) for at in range(400)]


def test_packs_lie_within_a_part(stream):
    output, opened = stream
    found = opened(pack_length=256)
    known = 0
    packs: list[list[int]] = []
    while known < 400:
        packs.append(found.prepared_rows(len(packs)))
        known += len(packs[-1])
    assert sorted(row for pack in packs for row in pack) == list(range(400))
    lengths = np.array([len(text) for text in texts(output)])
    assert all(lengths[pack].sum() <= 256 for pack in packs)
    masked = found[-len(packs)]
    assert len(masked) == 1 and set(masked[0]["labels"].tolist()) == {-100}, "what stands in carries no loss"


def test_waits_for_a_part_and_says_what_is_damaged(stream, tmp_path):
    output, opened = stream
    held = tmp_path / "held"
    held.mkdir()
    names = sorted(p.name for p in output.glob("*-00001*"))
    for name in names:
        (output / name).rename(held / name)
    found, waited = opened(), []

    def meanwhile():
        waited.append(1)
        if len(waited) == 2:
            for name in names:
                (held / name).rename(output / name)

    found.meanwhile = meanwhile
    border = len(read_shards(output, "train")[0]["starts"]) - 1
    assert found[border - 1] and not waited
    assert found[border] and len(waited) == 2
    shard = output / "train-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-8])
    with pytest.raises(MachineError, match="part 2 of the streamed rows is damaged"):
        [found[at] for at in range(border, 400)]
