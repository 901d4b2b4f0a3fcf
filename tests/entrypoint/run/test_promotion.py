"""What is served: one document, replaced in one step, over exports that were read first."""

import json
import threading
from pathlib import Path

import pytest

from entrypoint.run.promotion import promote, put_back, read_current, rollback, should_promote
from entrypoint.run.seal import seal
from entrypoint.run.store import Store
from schemas.current import Current
from schemas.errors import CaissonError, GateRefused, MachineError, UsageError
from schemas.manifest import Manifest


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """With four exports of the run n."""
    for name in "abcd":
        put(tmp_path, name)
    return Store(tmp_path)


def put(root: Path, name: str) -> None:
    partial = root / "n" / "exports" / f".partial-{name}"
    partial.mkdir(parents=True)
    (partial / "w").write_text(name)
    seal(partial, partial.with_name(name), Manifest(stage="export", name="n", identity=name, request="r", job={}, program="0", files=()))


def chosen(store: Store) -> tuple[str, tuple[str, ...], str]:
    current = read_current(store, "n")
    assert current
    return current.export, current.previous, current.by


def damage(store: Store, export: str) -> None:
    (store.root / "n" / "exports" / export / "w").write_text("X")


def test_nothing_is_current_before_the_first(store: Store) -> None:
    assert read_current(store, "n") is None


def test_one_after_the_other(store: Store) -> None:
    promote(store, "n", "a", "export")
    promote(store, "n", "b", "export")
    promote(store, "n", "c", "promote")
    assert chosen(store) == ("c", ("b", "a"), "promote")
    promote(store, "n", "a", "promote")
    assert chosen(store) == ("a", ("c", "b"), "promote"), "each once"


def test_the_document_is_the_contract_s(store: Store) -> None:
    promote(store, "n", "a", "export")
    said = json.loads((store.root / "n" / "current.json").read_text())
    assert {key: said[key] for key in ("export", "previous", "by")} == {"export": "a", "previous": [], "by": "export"}
    assert said["at"].endswith("+00:00")


def test_again_changes_nothing(store: Store) -> None:
    first = promote(store, "n", "a", "export")
    assert promote(store, "n", "a", "promote") == first


@pytest.mark.parametrize("export", ["x", "", ".", "..", "../exports/a", ".partial-a", "a/../b"])
def test_what_is_no_export(store: Store, export: str) -> None:
    with pytest.raises(UsageError, match="has no export"):
        promote(store, "n", export, "promote")
    assert read_current(store, "n") is None


def test_a_damaged_export_is_never_made_current(store: Store) -> None:
    """Of the same size, so that only its bytes tell."""
    promote(store, "n", "a", "export")
    damage(store, "b")
    with pytest.raises(GateRefused, match="w was altered"):
        promote(store, "n", "b", "promote")
    assert chosen(store)[0] == "a"


def test_back_and_forth(store: Store) -> None:
    for export in "abc":
        promote(store, "n", export, "export")
    rollback(store, "n")
    assert chosen(store) == ("b", ("c", "a"), "rollback")


def test_back_past_a_damaged_one(store: Store) -> None:
    for export in "abc":
        promote(store, "n", export, "export")
    damage(store, "b")
    rollback(store, "n")
    assert chosen(store)[0] == "a"


def test_nothing_to_go_back_to(store: Store) -> None:
    with pytest.raises(UsageError, match="no earlier export"):
        rollback(store, "n")
    promote(store, "n", "a", "export")
    with pytest.raises(UsageError, match="no earlier export"):
        rollback(store, "n")
    promote(store, "n", "b", "export")
    damage(store, "a")
    with pytest.raises(UsageError, match="a is damaged"):
        rollback(store, "n")
    assert chosen(store)[0] == "b"


def test_what_did_not_come_to_serve_is_put_back(store: Store) -> None:
    promote(store, "n", "a", "export")
    promote(store, "n", "b", "promote")
    put_back(store, "n", "b", "a", "parity")
    assert chosen(store) == ("a", (), "serve")
    current = read_current(store, "n")
    assert current and [(r.export, r.why) for r in current.refused] == [("b", "parity")]


def test_a_choice_made_meanwhile_stands(store: Store) -> None:
    promote(store, "n", "a", "export")
    promote(store, "n", "b", "promote")
    promote(store, "n", "c", "promote")
    put_back(store, "n", "b", "a", "parity")
    assert chosen(store) == ("c", ("b", "a"), "promote")
    current = read_current(store, "n")
    assert current and [r.export for r in current.refused] == ["b"]


def test_refusals_are_remembered_once_and_not_for_ever(store: Store) -> None:
    promote(store, "n", "a", "export")
    for number in range(8):
        put_back(store, "n", f"x{number % 7}", "a", f"why {number}")
    current = read_current(store, "n")
    assert current and [(r.export, r.why) for r in current.refused] == [(f"x{n % 7}", f"why {n}") for n in (7, 6, 5, 4, 3)]
    assert promote(store, "n", "b", "promote").refused == current.refused


@pytest.mark.parametrize("text", ["", "{", "[]", '{"export": "a"}', '{"export": "a", "at": "x", "by": "me"}', "\ud800"])
def test_a_document_that_was_edited_by_hand(store: Store, text: str) -> None:
    (store.root / "n" / "current.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(MachineError, match=r"current\.json cannot be read") as caught:
        read_current(store, "n")
    assert "promote" in str(caught.value)


def test_many_at_once(store: Store) -> None:
    """Each choice is whole, and none is lost from what was before."""

    def go(export: str) -> None:
        for _ in range(10):
            promote(store, "n", export, "promote")

    threads = [threading.Thread(target=go, args=(export,)) for export in "abcd"]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        try:
            read_current(store, "n")
        except CaissonError as error:
            pytest.fail(str(error))
    for thread in threads:
        thread.join()
    export, previous, _ = chosen(store)
    assert sorted((export, *previous)) == list("abcd")


CURRENT = Current(export="a", at="2026-01-01T10:00:00+00:00", by="export")


@pytest.mark.parametrize(
    ("current", "export", "sealed_at", "automatic", "promoted"),
    [
        (None, "a", "2026-01-01T09:00:00+00:00", True, True),
        (None, "a", "2026-01-01T09:00:00+00:00", False, True),
        (CURRENT, "b", "2026-01-01T11:00:00+00:00", True, True),
        (CURRENT, "b", "2026-01-01T11:00:00+00:00", False, False),
        (CURRENT, "b", "2026-01-01T09:00:00+00:00", True, False),
        (CURRENT, "a", "2026-01-01T11:00:00+00:00", True, False),
    ],
    ids=["first", "first, by hand", "newer", "newer, by hand", "passed over", "the same"],
)
def test_what_export_promotes(current: Current | None, export: str, sealed_at: str, automatic: bool, promoted: bool) -> None:
    assert should_promote(current, export, sealed_at, automatic=automatic) == promoted


def test_a_store_that_cannot_be_written(users_folder: Path) -> None:
    put(users_folder, "a")
    (users_folder / "n").chmod(0o500)
    with pytest.raises(MachineError, match="cannot be written"):
        promote(Store(users_folder), "n", "a", "promote")
