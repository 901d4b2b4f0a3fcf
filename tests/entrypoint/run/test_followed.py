"""What serve follows, and what it leaves where a choice cannot be followed."""

from pathlib import Path

import pytest

from entrypoint.run.followed import Followed
from entrypoint.run.promotion import promote, read_current
from entrypoint.run.seal import seal
from entrypoint.run.store import Store
from schemas.errors import GateRefused
from schemas.manifest import Manifest


@pytest.fixture
def store(tmp_path: Path) -> Store:
    for name in "abcd":
        partial = tmp_path / "n" / "exports" / f".partial-{name}"
        partial.mkdir(parents=True)
        (partial / "w").write_text(name)
        seal(partial, partial.with_name(name), Manifest(stage="export", name="n", identity=name, request="r", job={}, program="0", files=()))
    return Store(tmp_path)


def test_wanted(store: Store) -> None:
    followed = Followed(store, "n")
    assert followed.wanted() is None
    promote(store, "n", "b", "promote")
    assert followed.wanted() == store.root / "n" / "exports" / "b"


def test_what_cannot_be_read_or_is_gone_is_not_followed(store: Store) -> None:
    """What serves goes on."""
    followed = Followed(store, "n")
    promote(store, "n", "b", "promote")
    (store.root / "n" / "exports" / "b").rename(store.root / "gone")
    assert followed.wanted() is None
    (store.root / "n" / "current.json").write_text("{")
    assert followed.wanted() is None
    assert followed.beyond(1) == 0


def test_every_byte_is_read(store: Store) -> None:
    folder = store.root / "n" / "exports" / "a"
    Followed(store, "n").verify(folder)
    (folder / "w").write_text("X")
    with pytest.raises(GateRefused, match="w was altered"):
        Followed(store, "n").verify(folder)


def test_refused(store: Store) -> None:
    exports = store.root / "n" / "exports"
    for export in "ab":
        promote(store, "n", export, "promote")
    Followed(store, "n").refuse(exports / "b", exports / "a", "why")
    current = read_current(store, "n")
    assert current and (current.export, current.by, current.refused[0].export) == ("a", "serve", "b")


def test_beyond(store: Store) -> None:
    for export in "abcd":
        promote(store, "n", export, "promote")
    followed = Followed(store, "n")
    assert [followed.beyond(keep) for keep in (1, 2, 3, 4)] == [2, 1, 0, 0]
