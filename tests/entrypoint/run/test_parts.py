"""A prepare that is stopped goes on from its parts, to the same bytes."""

import pytest

pytest.importorskip("transformers")

from gate_run import attempt, model
from tiny import rows

from entrypoint.run import gate
from entrypoint.run.parts import Parts

pytestmark = pytest.mark.image
__all__ = ["attempt", "model"]

ROWS = [*rows(200), *rows(30), {"messages": []}, *rows(260)[200:]]


class Stopped(BaseException):
    """As a kill between two instructions."""


@pytest.fixture
def small_parts(monkeypatch):
    """Batches of a few rows, so that parts of some twenty are full where they should be."""
    monkeypatch.setattr(gate, "SHARD_TOKENS", 1000)
    monkeypatch.setattr(gate, "BATCH_ROWS", 8)


def files(output):
    return {p.name: p.read_bytes() for p in output.iterdir()}


@pytest.mark.parametrize("stops", [(1,), (2, 3), (0, 0, 4)])
@pytest.mark.parametrize("damage", [None, "shard", "record"])
def test_the_same_bytes(attempt, small_parts, monkeypatch, stops, damage):
    kept = {"weight": 1.5, "max_rows": 220}
    _, calm = attempt(ROWS, part_tokens=1000, out="calm", source=kept, deduplicate=True)
    assert len(list(calm.glob("train-*"))) > 6
    seal = Parts.seal
    for stop in stops:
        left = [stop]

        def stopping(self, *arguments, left=left, **more):
            if not left[0]:
                raise Stopped
            left[0] -= 1
            seal(self, *arguments, **more)

        monkeypatch.setattr(Parts, "seal", stopping)
        with pytest.raises(Stopped):
            attempt(ROWS, part_tokens=1000, source=kept, deduplicate=True)
        monkeypatch.setattr(Parts, "seal", seal)
        _spoil(calm.parent / "out", damage)
    _, output = attempt(ROWS, part_tokens=1000, source=kept, deduplicate=True)
    assert files(output) == files(calm)


def _spoil(output, damage):
    """As a power cut leaves a file whose bytes were not flushed."""
    pattern = {"shard": "train-*", "record": "part-*.json"}.get(damage)
    for path in sorted(output.glob(pattern))[-1:] if pattern else ():
        path.write_bytes(path.read_bytes()[:-7])


def test_parts_of_another_job_are_not_used(attempt, small_parts, monkeypatch):
    def stopping(self, *arguments, **more):
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(Parts, "seal", stopping)
        with pytest.raises(Stopped):
            attempt(ROWS, part_tokens=1000)
    _, output = attempt(ROWS, part_tokens=1000, seed=18)
    assert files(output) == files(attempt(ROWS, part_tokens=1000, seed=18, out="calm")[1])
