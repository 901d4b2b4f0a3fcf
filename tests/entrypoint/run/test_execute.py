"""Real processes: what is sealed, what is passed on, and what is left when something or somebody ends them."""

import json
import os
import re
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from executor_process import Recorded, doing, events
from kept_store import plan, put, step

from entrypoint.run.execute import Told, execute
from entrypoint.run.seal import read_manifest
from entrypoint.run.store import Store
from schemas.errors import GateRefused, Interrupted, MachineError, StepFailed, UsageError
from schemas.plan import Step


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_sealed(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    made = doing("well", input_contents={"model": "f" * 64}, image_lock="l" * 64)
    execute(plan(made), store)
    manifest = read_manifest(store.final(made))
    assert manifest
    assert (manifest.stage, manifest.name, manifest.identity, manifest.request) == ("export", "n", made.identity, made.request)
    assert (manifest.inputs, manifest.image_lock, manifest.summary) == ({"model": "f" * 64}, "l" * 64, {"did": "well"})
    assert manifest.job == made.job.model_dump(mode="json")
    assert [f.path for f in manifest.files] == ["made", "started"]
    left = sorted(p.name for p in (store.root / made.folder).iterdir())
    assert left == [f".lock-{made.id}", made.id], "no task, no summary, no partial folder"
    assert [e["event"] for e in events(store)] == ["started", "worked", "sealed"]
    assert re.search(r"export: a step: sealed n/exports/a{16} in \d+ s\n", capfd.readouterr().out)


def test_launch_is_told_everything(store: Store) -> None:
    source = put(store, step(stage="fetch", folder="models", identity="5" * 64), {"w": b"1"})
    recorded = Recorded()
    made = step(environment={"X": "1"}, inputs={"model": str(source.relative_to(store.root))})

    def launch(made: Step, argv: tuple[str, ...], environment: dict[str, str], lock: int) -> int:
        os.fstat(lock)
        task = json.loads(Path(argv[-1]).read_text())
        assert task["inputs"] == {"model": str(source)}
        assert task["output"] == str(store.partial(made))
        assert task["name"] == "n"
        assert Path(task["output"]).is_dir()
        return recorded(made, argv, environment, lock)

    execute(plan(made), store, launch)
    ((_, argv, environment, _),) = recorded.calls
    assert argv[:-1] == ("python", "-m", "entrypoint.run.export")
    assert environment == {"X": "1"}


def test_up_to_date_starts_nothing(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    recorded = Recorded()
    execute(plan(), store, recorded)
    execute(plan(), store, recorded)
    assert len(recorded.calls) == 1
    assert capfd.readouterr().out.endswith(f"export: a step: up to date (n/exports/{'a' * 16})\n")


def test_steps_in_order_up_to_the_first_that_fails(store: Store) -> None:
    done: list[str] = []
    recorded = Recorded()

    def launch(made: Step, *rest: Any) -> int:
        done.append(made.title)
        return 4 if made.title == "two" else recorded(made, *rest)

    steps = [step(title=title, identity=digit * 64) for title, digit in (("one", "1"), ("two", "2"), ("three", "3"))]
    with pytest.raises(Told):
        execute(plan(*steps), store, launch)
    assert done == ["one", "two"]
    assert [bool(store.find(s)) for s in steps] == [True, False, False]


@pytest.mark.parametrize(
    ("do", "code", "said"),
    [
        ("usage", 2, "caisson: u\n    f\n"),
        ("machine", 3, "caisson: m\n    f\n"),
        ("gate", 4, "caisson: g\n    f\n"),
        ("interrupted", 75, "caisson: i\n    f\n"),
    ],
)
def test_what_a_leaf_has_said_is_said_once(store: Store, capfd: pytest.CaptureFixture[str], do: str, code: int, said: str) -> None:
    with pytest.raises(Told) as caught:
        execute(plan(doing(do)), store)
    assert caught.value.exit_code == code
    assert capfd.readouterr().err == said
    failed = events(store)[-1]
    assert (failed["event"], failed["exit_code"], failed["fix"]) == ("failed", code, "f")


def test_exit_codes_are_those_of_the_errors() -> None:
    assert [e.exit_code for e in (StepFailed, UsageError, MachineError, GateRefused, Interrupted)] == [1, 2, 3, 4, 75]


@pytest.mark.parametrize(("do", "how"), [("failed", "exit code 1"), ("bug", "exit code 1"), ("exit 9", "exit code 9")])
def test_other_ends_are_failures(store: Store, capfd: pytest.CaptureFixture[str], do: str, how: str) -> None:
    with pytest.raises(StepFailed) as caught:
        execute(plan(doing(do)), store)
    assert caught.value.what.startswith(f"export: a step ended with {how}: python ")
    assert caught.value.what.endswith(f"/.task-{'a' * 16}.json"), "a command that can be run again"
    assert str(store.logs("n") / "export.jsonl") in str(caught.value.fix)
    assert ("Traceback" in capfd.readouterr().err) is (do == "bug"), "always one for our mistake, never for a user's"


def test_killed_names_memory(store: Store) -> None:
    with pytest.raises(StepFailed) as caught:
        execute(plan(doing("killed")), store)
    assert caught.value.what == "export: a step was ended by SIGKILL, as the kernel does where memory runs out"
    assert "more memory" in str(caught.value.fix)


def test_killed_by_the_kernel_for_memory(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As memory.events of the container tells."""
    counts = tmp_path / "memory.events"
    counts.write_text("oom_kill 4\n")
    monkeypatch.setattr("entrypoint.run.memory_kills.CGROUPS", tmp_path)
    monkeypatch.setattr("entrypoint.run.memory_kills.OWN", tmp_path / "own")
    (tmp_path / "own").write_text("0::/\n")

    def launch(*_: object) -> int:
        counts.write_text("oom_kill 5\n")
        return -signal.SIGKILL

    with pytest.raises(MachineError, match=r"export: a step was ended by the kernel: the memory ran out"):
        execute(plan(step()), store, launch)


UNUSABLE = {
    "log read-only": (lambda s, m: closed(s.logs("n") / "export.jsonl", 0o400), "may not be used"),
    "log a folder": (lambda s, m: (s.logs("n") / "export.jsonl").mkdir(parents=True), "export.jsonl is a folder"),
    "logs a file": (lambda s, m: touched(s.logs("n")), "logs is no folder"),
    "partial closed": (lambda s, m: closed(s.partial(m), 0o000), "may not be used"),
    "partial read-only": (lambda s, m: closed(s.partial(m), 0o555), "may not be used"),
    "checkpoints read-only": (lambda s, m: closed(s.partial(m) / "checkpoints", 0o555), "may not be used"),
    "partial a file": (lambda s, m: touched(s.partial(m)), "is no folder"),
    "task a folder": (lambda s, m: (s.root / m.folder / f".task-{m.work_id}.json").mkdir(parents=True), ".json is a folder"),
    "summary a folder": (lambda s, m: (s.root / m.folder / f".summary-{m.work_id}.json").mkdir(parents=True), ".json is a folder"),
    "lock a folder": (lambda s, m: (s.root / m.folder / f".lock-{m.work_id}").mkdir(parents=True), "is a folder"),
    "stage a file": (lambda s, m: touched(s.root / m.folder), "exports is no folder"),
}


def touched(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def closed(path: Path, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix:
        path.touch()
    else:
        path.mkdir()
    path.chmod(mode)


@pytest.mark.parametrize("case", UNUSABLE)
def test_what_is_in_the_way_of_a_run_s_own_files_is_named(users_folder: Path, case: str) -> None:
    """Before anything is started; with a word on the owner only where it is the owner."""
    make, said = UNUSABLE[case]
    store, made, recorded = Store(users_folder), step(), Recorded()
    make(store, made)
    with pytest.raises(MachineError, match=said) as caught:
        execute(plan(made), store, recorded)
    assert recorded.calls == []
    assert str(users_folder / "n") in caught.value.what
    assert ("chown" in str(caught.value)) is (said == "may not be used")


def test_what_cannot_be_sealed_is_named(users_folder: Path) -> None:
    """A folder that the process left closed."""
    store, made = Store(users_folder), step()
    recorded = Recorded()

    def launch(made: Step, *rest: Any) -> int:
        closed(store.partial(made) / "shut", 0o000)
        return recorded(made, *rest)

    with pytest.raises(MachineError, match="shut may not be used"):
        execute(plan(made), store, launch)


def test_no_folder_for_temporary_files(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("tempfile._candidate_tempdir_list", lambda: ["/not/there"])
    recorded = Recorded()
    with pytest.raises(MachineError, match=r"no folder takes temporary files.*'/not/there'") as caught:
        execute(plan(step()), store, recorded)
    assert "TMPDIR" in str(caught.value)
    assert recorded.calls == []


def test_full_disk_of_the_leaf(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Told) as caught:
        execute(plan(doing("full")), store)
    assert caught.value.exit_code == 3
    assert "no space left on the store" in capfd.readouterr().err


@pytest.mark.parametrize("do", ["gate", "killed"])
def test_a_failed_attempt_seals_nothing_and_the_next_one_finishes(store: Store, do: str) -> None:
    with pytest.raises((Told, StepFailed)):
        execute(plan(doing(do)), store)
    assert store.find(doing(do)) is None
    assert not store.final(doing(do)).exists()
    assert (store.partial(doing(do)) / "started").exists(), "what was done is kept"
    execute(plan(doing("well")), store)
    assert store.find(doing("well"))


@pytest.mark.parametrize(
    ("stage", "do", "left"),
    [("fetch", "gate", False), ("fetch", "usage", False), ("prepare", "gate", False), ("fetch", "machine", True), ("export", "gate", True)],
)
def test_what_was_refused_is_removed_where_it_is_of_no_use(store: Store, stage: str, do: str, left: bool) -> None:
    made = doing(do, stage=stage)
    with pytest.raises(Told):
        execute(plan(made), store)
    assert store.partial(made).exists() is left
    assert bool(list((store.root / made.folder).glob(".task-*"))) is left


def test_damaged_artifact_is_put_aside_and_made_again(store: Store) -> None:
    folder = put(store, step(), {"a": b"good"})
    (folder / "a").write_bytes(b"too long")
    recorded = Recorded()
    execute(plan(), store, recorded)
    assert len(recorded.calls) == 1
    assert (folder / "a").read_text() == "1"
    (aside,) = folder.parent.glob(".damaged-*")
    assert (aside / "a").read_bytes() == b"too long", "out of the way, not gone"


def test_damaged_input_starts_nothing(store: Store) -> None:
    source = put(store, step(stage="fetch", folder="models", identity="5" * 64), {"w": b"12"})
    (source / "w").write_bytes(b"13")
    recorded = Recorded()
    with pytest.raises(MachineError, match=r"the model artifact models/5{16} is damaged: w was altered"):
        execute(plan(step(inputs={"model": f"models/{source.name}"})), store, recorded)
    assert recorded.calls == []


def test_too_little_room_starts_nothing(store: Store) -> None:
    recorded = Recorded()
    with pytest.raises(MachineError) as caught:
        execute(plan(step(disk_bytes=2**60)), store, recorded)
    assert caught.value.exit_code == 3
    assert re.fullmatch(r"export: a step needs 1073741824\.00 GiB more on the store, [\d.]+ GiB are free", caught.value.what)
    assert recorded.calls == []
    execute(plan(step(disk_bytes=1)), store, recorded)


def test_room_for_what_is_still_to_come(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier attempt has brought is not asked for again."""
    made = step(disk_bytes=3000)
    monkeypatch.setattr("entrypoint.run.execute.shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(MachineError):
        execute(plan(made), store, Recorded())
    store.partial(made).mkdir(parents=True)
    (store.partial(made) / ".half.draft").write_bytes(bytes(2000))
    execute(plan(made), store, Recorded())
    assert store.find(made)
