"""What is sealed, what is not, and who writes right now."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from kept_store import ROOT, put, step

from entrypoint.run import seal
from entrypoint.run.store import Store
from schemas.errors import MachineError

HOLD = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from kept_store import step
from entrypoint.run.store import Store
with Store(Path({root!r})).lock(step()):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_places(store: Store, tmp_path: Path) -> None:
    assert store.final(step()) == tmp_path / "n/exports" / ("a" * 16)
    assert store.partial(step()) == tmp_path / "n/exports" / (".partial-" + "a" * 16)
    assert store.logs("n") == tmp_path / "n/logs"


def test_find(store: Store) -> None:
    assert store.find(step()) is None
    put(store, step(), {"a": b"1"})
    found = store.find(step())
    assert found
    assert found.folder == "n/exports/" + "a" * 16
    assert store.find(step(identity="")) is None
    assert store.find(step(identity="c" * 64)) is None


def test_folder_s_name_is_not_trusted(store: Store) -> None:
    """Same first 16 digits, another identity."""
    put(store, step(), {"a": b"1"})
    assert store.find(step(identity="a" * 16 + "0" * 48)) is None


@pytest.mark.parametrize(
    "harm",
    [lambda f: (f / "a").unlink(), lambda f: (f / "a").write_bytes(b"12"), lambda f: (f / "manifest.json").write_text("{")],
    ids=["missing", "longer", "manifest"],
)
def test_damaged_is_not_found(store: Store, harm) -> None:
    harm(put(store, step(), {"a": b"1"}))
    assert store.find(step()) is None
    assert list(store.sealed("n/exports")) == []
    assert store.find_request("n/exports", "b" * 64) is None


def test_unfinished_is_not_found(store: Store) -> None:
    store.partial(step()).mkdir(parents=True)
    assert store.find(step()) is None
    assert list(store.sealed("n/exports")) == []


def test_newest_of_a_request(store: Store) -> None:
    put(store, step(identity="1" * 64), {"a": b"1"}, "2026-01-02T00:00:00+00:00")
    put(store, step(identity="2" * 64), {"a": b"2"}, "2026-01-03T00:00:00+00:00")
    put(store, step(identity="3" * 64), {"a": b"3"}, "2026-01-01T00:00:00+00:00")
    put(store, step(identity="4" * 64, request="z" * 64), {"a": b"4"}, "2026-01-09T00:00:00+00:00")
    found = store.find_request("n/exports", "b" * 64)
    assert found
    assert found.manifest.identity == "2" * 64
    (store.final(step(identity="2" * 64)) / "a").unlink()
    found = store.find_request("n/exports", "b" * 64)
    assert found
    assert found.manifest.identity == "1" * 64, "falls back to the newest that is whole"
    assert store.find_request("n/exports", "") is None


def test_sealed_of_no_folder(store: Store) -> None:
    assert list(store.sealed("nothing")) == []


def test_verify_reads_every_byte(store: Store) -> None:
    folder = put(store, step(), {"a": b"one", "b/c": b"two"})
    store.verify("n/exports/" + "a" * 16, "model")
    (folder / "b/c").write_bytes(b"twO")
    with pytest.raises(MachineError) as caught:
        store.verify("n/exports/" + "a" * 16, "model")
    (aside,) = folder.parent.glob(".damaged-*")
    assert (aside / "b/c").read_bytes() == b"twO", "out of the way, not gone"
    assert not folder.exists()
    assert str(caught.value) == (
        f"the model artifact n/exports/{'a' * 16} is damaged: b/c was altered after it was sealed; it was set aside as {aside.name}"
        "\n    `docker compose run --rm fetch`, or `caisson fetch`, makes it again; then run this command again"
    )
    assert caught.value.exit_code == 3


def test_verify_without_a_manifest(store: Store) -> None:
    folder = put(store, step(), {"a": b"one"})
    (folder / "manifest.json").unlink()
    with pytest.raises(MachineError, match="its manifest is gone"):
        store.verify("n/exports/" + "a" * 16, "model")


@pytest.mark.parametrize(
    ("make", "said", "damaged"), [(lambda m: m.write_text("{"), "cannot be understood", True), (lambda m: m.symlink_to(m), "cannot be read", False)]
)
def test_verify_with_a_manifest_that_cannot_be_read(store: Store, make, said: str, damaged: bool) -> None:
    folder = put(store, step(), {"a": b"one"})
    (folder / "manifest.json").unlink()
    make(folder / "manifest.json")
    with pytest.raises(MachineError, match=said):
        store.verify("n/exports/" + "a" * 16, "model")
    assert folder.is_dir() is not damaged


def test_verify_of_what_another_run_has_set_aside(store: Store) -> None:
    with pytest.raises(MachineError, match="its manifest is gone"):
        store.verify("n/exports/" + "a" * 16, "model")


def test_verify_where_it_cannot_be_set_aside(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = put(store, step(), {"a": b"one"})
    (folder / "a").write_bytes(b"two")

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(MachineError, match=f"it cannot be set aside: Read-only file system\n    remove {folder}; `docker"):
        store.verify("n/exports/" + "a" * 16, "model")


@pytest.mark.parametrize(("number", "damaged"), [(errno.EIO, True), (errno.EACCES, False)])
def test_file_that_cannot_be_read(store: Store, monkeypatch: pytest.MonkeyPatch, number: int, damaged: bool) -> None:
    """A bad sector is damage, a missing right is none."""
    folder = put(store, step(), {"a": b"one"})

    def refuse(path: Path) -> str:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(seal, "sha256", refuse)
    with pytest.raises(MachineError, match="cannot be read"):
        store.verify("n/exports/" + "a" * 16, "model")
    assert folder.is_dir() is not damaged


def test_lock_is_free_again_after_use(store: Store) -> None:
    for _ in range(2):
        with store.lock(step()) as descriptor:
            assert os.fstat(descriptor)


def test_lock_of_another_artifact(store: Store) -> None:
    with store.lock(step()), store.lock(step(identity="c" * 64)):
        pass


def test_lock_is_given_back_after_an_error(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.lock(step()):
        raise ZeroDivisionError
    with store.lock(step()):
        pass


def test_lock_held_by_another_process(store: Store, tmp_path: Path) -> None:
    code = HOLD.format(tests=str(Path(__file__).parent), root=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(MachineError) as caught, store.lock(step()):
            pass
        assert str(caught.value) == f"another export is writing n/exports/{'a' * 16} right now\n    wait for it, or stop it; the same command then goes on"
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with store.lock(step()):
            pass


def test_a_lock_whose_file_goes_before_it_is_held_is_taken_anew(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else two runs hold two files of one name."""
    lock, real, held = store.root / step().folder / f".lock-{step().work_id}", fcntl.flock, []

    def removed_meanwhile(descriptor: int, how: int) -> None:
        if not held:
            lock.unlink()
        held.append(descriptor)
        real(descriptor, how)

    monkeypatch.setattr("fcntl.flock", removed_meanwhile)
    with store.lock(step()) as descriptor:
        assert os.path.samestat(lock.stat(), os.fstat(descriptor))
    assert len(held) == 2


def test_a_lock_is_checked_before_sealing(store: Store) -> None:
    with store.lock(step()) as descriptor:
        store.check_lock(step(), descriptor)
        lock = store.root / step().folder / f".lock-{step().work_id}"
        lock.unlink()
        for _ in range(2):
            with pytest.raises(MachineError, match="was removed or replaced while it was held"):
                store.check_lock(step(), descriptor)
            lock.touch()
