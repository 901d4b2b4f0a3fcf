"""A prepare that is stopped goes on from its parts, to the same bytes."""

import pytest

pytest.importorskip("transformers")

from gate_run import attempt, model, stop_at_seals
from tiny import rows

from entrypoint.run import gate

pytestmark = pytest.mark.image
__all__ = ["attempt", "model"]

ROWS = [*rows(200), *rows(30), {"messages": []}, *rows(260)[200:]]


@pytest.fixture
def small_parts(monkeypatch):
    """Batches of a few rows, so that parts of some twenty are full where they should be."""
    monkeypatch.setattr(gate, "BATCH_ROWS", 8)


def files(output):
    return {p.name: p.read_bytes() for p in output.iterdir()}


@pytest.mark.parametrize("stops", [(1,), (2, 3), (0, 0, 4)])
@pytest.mark.parametrize("damage", [None, "shard", "record"])
def test_the_same_bytes(attempt, small_parts, monkeypatch, stops, damage):
    kept = {"weight": 1.5, "max_rows": 220}
    _, calm = attempt(ROWS, part_tokens=1000, out="calm", source=kept, deduplicate=True)
    assert len(list(calm.glob("train-*"))) > 6

    def prepare():
        _spoil(calm.parent / "out", damage)
        attempt(ROWS, part_tokens=1000, source=kept, deduplicate=True)

    stop_at_seals(monkeypatch, stops, prepare)
    _spoil(calm.parent / "out", damage)
    _, output = attempt(ROWS, part_tokens=1000, source=kept, deduplicate=True)
    assert files(output) == files(calm)


def _spoil(output, damage):
    """As a power cut leaves a file whose bytes were not flushed."""
    pattern = {"shard": "train-*", "record": "part-*.json"}.get(damage)
    for path in sorted(output.glob(pattern))[-1:] if pattern else ():
        path.write_bytes(path.read_bytes()[:-7])


def test_parts_of_another_job_are_not_used(attempt, small_parts, monkeypatch):
    stop_at_seals(monkeypatch, (0,), lambda: attempt(ROWS, part_tokens=1000))
    _, output = attempt(ROWS, part_tokens=1000, seed=18)
    assert files(output) == files(attempt(ROWS, part_tokens=1000, seed=18, out="calm")[1])
