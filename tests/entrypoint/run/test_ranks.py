"""Which process this is, by torchrun's variables."""

import pytest

from entrypoint.run.ranks import is_first, local_rank, rank


def test_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert (rank(), local_rank(), is_first()) == (0, 0, True)


@pytest.mark.parametrize(("number", "first"), [("0", True), ("1", False), ("11", False)])
def test_under_torchrun(monkeypatch: pytest.MonkeyPatch, number: str, first: bool) -> None:
    monkeypatch.setenv("RANK", number)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert (rank(), local_rank(), is_first()) == (int(number), 3, first)
