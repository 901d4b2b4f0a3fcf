"""Real processes: what is sealed, what is passed on, and what is left when something or somebody ends them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kept_store import ROOT, plan, put, step

from entrypoint.run.execute import Told, attend, execute
from entrypoint.run.seal import read_manifest
from entrypoint.run.store import Store
from schemas.errors import GateRefused, Interrupted, MachineError, StepFailed, UsageError
from schemas.plan import Step

LEAF = """
import os, signal, sys, time
from pathlib import Path
from entrypoint.run.leaf import run_leaf
from schemas.errors import *

def work(task, events):
    out, do = Path(task.output), os.environ["DO"]
    (out / "started").touch()
    if do == "usage": raise UsageError("u", "f")
    if do == "machine": raise MachineError("m", "f")
    if do == "gate": raise GateRefused("g", "f")
    if do == "interrupted": raise Interrupted("i", "f")
    if do == "failed": raise StepFailed("s", "f")
    if do == "bug": raise KeyError("ours")
    if do == "full": raise OSError(28, "No space left on device")
    if do == "exit 9": os._exit(9)
    if do == "killed": os.kill(os.getpid(), signal.SIGKILL)
    if do == "slow":  # ten parts; goes on after those that are there
        stop = []
        if os.environ["ON_TERM"] == "says so": signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
        if os.environ["ON_TERM"] == "ignores": signal.signal(signal.SIGTERM, signal.SIG_IGN)
        (out / "pid").write_text(str(os.getpid()))
        print("ready", flush=True)
        for part in range(10):
            if (out / f"part-{part}").exists(): continue
            time.sleep(float(os.environ["PAUSE"]))
            if stop: raise Interrupted("stopped", "again")
            (out / f"part-{part}").write_text(str(os.getpid()))
        (out / "pid").unlink()
    (out / "made").write_text(do)
    events.write("worked")
    return {"did": do}

run_leaf(work)
"""

PARENT = """
import sys
from pathlib import Path
from entrypoint.run.execute import Told, execute
from entrypoint.run.store import Store
from schemas.errors import CaissonError
from schemas.plan import Plan
try:
    execute(Plan.model_validate_json(sys.argv[1]), Store(Path(sys.argv[2])))
except CaissonError as error:
    print(f"caisson: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
except Told as told:
    sys.exit(told.exit_code)
"""


def doing(do: str, **other: Any) -> Step:
    """A step whose leaf does that."""
    environment = {"DO": do, "PYTHONPATH": str(ROOT), "ON_TERM": "says so", "PAUSE": "0.02"}
    changes = other.pop("environment", {})
    return step(argv=("python", "-c", LEAF, "{task}"), environment=environment | changes, **other)


def parent(store: Store, made: Step) -> "subprocess.Popen[str]":
    """The executor in a process of its own; returns when the leaf is at work."""
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, plan(made).model_dump_json(), str(store.root)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def events(store: Store) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (store.logs("n") / "export.jsonl").read_text().splitlines()]


class Recorded:
    """A launch that notes what it is told and lets the leaf be done."""

    def __init__(self) -> None:
        self.calls: list[tuple[Step, tuple[str, ...], dict[str, str], int]] = []

    def __call__(self, made: Step, argv: tuple[str, ...], environment: dict[str, str], lock: int) -> int:
        self.calls.append((made, argv, environment, lock))
        task = json.loads(Path(argv[-1]).read_text())
        (Path(task["output"]) / "a").write_text("1")
        Path(task["summary"]).write_text(json.dumps({"summary": {"s": 1}, "versions": {"v": "2"}}))
        return 0


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def running(store: Store) -> Iterator[list["subprocess.Popen[str]"]]:
    """Processes that are ended when the test is, and the leaves that they may have left."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
    for left in store.root.rglob("pid"):
        try:
            os.kill(int(left.read_text()), signal.SIGKILL)
        except (ProcessLookupError, ValueError):
            continue


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


@pytest.mark.parametrize(("do", "how"), [("failed", "exit code 1"), ("bug", "exit code 1"), ("exit 9", "exit code 9"), ("killed", "signal SIGKILL")])
def test_other_ends_are_failures(store: Store, capfd: pytest.CaptureFixture[str], do: str, how: str) -> None:
    with pytest.raises(StepFailed) as caught:
        execute(plan(doing(do)), store)
    assert caught.value.what.startswith(f"export: a step ended with {how}: python ")
    assert caught.value.what.endswith(f"/.task-{'a' * 16}.json"), "a command that can be run again"
    assert str(store.logs("n") / "export.jsonl") in str(caught.value.fix)
    assert ("Traceback" in capfd.readouterr().err) is (do == "bug"), "always one for our mistake, never for a user's"


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


def finish(process: "subprocess.Popen[str]") -> tuple[int, str]:
    _, err = process.communicate(timeout=20)
    return process.returncode, err


def slow(on_term: str = "says so", pause: float = 0.3) -> Step:
    return doing("slow", environment={"ON_TERM": on_term, "PAUSE": str(pause)})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_goes_on_to_the_leaf(store: Store, running: list["subprocess.Popen[str]"], number: signal.Signals) -> None:
    running.append(parent(store, slow()))
    running[0].send_signal(number)
    assert finish(running[0]) == (75, "caisson: stopped\n    again\n")
    assert store.find(slow()) is None
    execute(plan(slow(pause=0.0)), store)
    assert store.find(slow())


def test_leaf_without_words_for_a_signal(store: Store, running: list["subprocess.Popen[str]"]) -> None:
    running.append(parent(store, slow("dies")))
    running[0].send_signal(signal.SIGTERM)
    code, err = finish(running[0])
    assert (code, err) == (75, "caisson: export was stopped\n    run the same command again: it goes on from the last checkpoint\n")


def test_leaf_that_ends_well_after_a_signal_is_sealed(store: Store, running: list["subprocess.Popen[str]"]) -> None:
    running.append(parent(store, slow("ignores", pause=0.03)))
    running[0].send_signal(signal.SIGTERM)
    assert finish(running[0]) == (0, "")
    assert store.find(slow())


def test_third_signal_ends_a_leaf_that_does_not_listen(store: Store, running: list["subprocess.Popen[str]"]) -> None:
    running.append(parent(store, slow("ignores", pause=2.0)))
    for _ in range(3):
        running[0].send_signal(signal.SIGTERM)
        time.sleep(0.2)
    code, err = finish(running[0])
    assert code == 75
    assert "export was stopped" in err


def wait_for(path: Path) -> None:
    end = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < end, f"{path} never came"
        time.sleep(0.01)


def test_killed_in_the_middle_the_next_run_goes_on(store: Store, running: list["subprocess.Popen[str]"]) -> None:
    made = slow(pause=0.05)
    running.append(parent(store, made))
    wait_for(store.partial(made) / "part-2")
    leaf = int((store.partial(made) / "pid").read_text())
    os.kill(running[0].pid, signal.SIGKILL)
    os.kill(leaf, signal.SIGKILL)
    running[0].wait()
    assert store.find(made) is None
    (store.partial(made) / "pid").unlink()
    end = time.monotonic() + 5
    while True:  # the killed leaf gives its lock back when the kernel has cleared it away
        try:
            execute(plan(made), store)
            break
        except MachineError:
            assert time.monotonic() < end
            time.sleep(0.02)
    sealed = store.find(made)
    assert sealed
    parts = [(store.root / sealed.folder / f"part-{n}").read_text() for n in range(10)]
    assert parts[:3] == [str(leaf)] * 3, "the first parts were not made twice"
    assert parts[9] != str(leaf)


def test_leaf_that_outlives_its_parent_keeps_the_lock(store: Store, running: list["subprocess.Popen[str]"]) -> None:
    made = slow(pause=0.1)
    running.append(parent(store, made))
    running[0].kill()
    running[0].wait()
    recorded = Recorded()
    with pytest.raises(MachineError, match="another export is writing"):
        execute(plan(made), store, recorded)
    assert recorded.calls == []


def test_second_run_at_the_same_time_is_told(store: Store, running: list["subprocess.Popen[str]"]) -> None:
    running.append(parent(store, slow(pause=0.05)))
    with pytest.raises(MachineError, match=r"another export is writing n/exports/a{16} right now"):
        execute(plan(slow()), store)
    assert finish(running[0])[0] == 0


ATTEND = PARENT.replace("import Told, execute", "import Told, attend").replace(
    "execute(Plan.model_validate_json(sys.argv[1]), Store(Path(sys.argv[2])))",
    "attend(Plan.model_validate_json(sys.argv[1]).steps[0], 'n', Store(Path(sys.argv[2])))",
)
SERVER = """
import os, signal, sys, time
if os.environ["DO"] == "stops": signal.signal(signal.SIGTERM, lambda *_: sys.exit(int(os.environ["CODE"])))
print("ready", flush=True)
if os.environ["DO"] == "ends": sys.exit(int(os.environ["CODE"]))
if os.environ["DO"] == "dies": os.kill(os.getpid(), signal.SIGKILL)
if os.environ["DO"] == "shows": print(os.environ["X"], *open(sys.argv[1]).read().split("\\n"), flush=True)
time.sleep(20)
"""


def serving(do: str, code: int = 0, **environment: str) -> Step:
    """A step whose process does that."""
    return step(argv=("python", "-c", SERVER, "{task}"), environment={"DO": do, "CODE": str(code), **environment})


def attended(store: Store, made: Step) -> "subprocess.Popen[str]":
    """`attend` in a process of its own; returns when the server is up."""
    process = subprocess.Popen(
        [sys.executable, "-c", ATTEND, plan(made).model_dump_json(), str(store.root)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(("do", "how"), [("ends", "exit code 0"), ("dies", "signal SIGKILL")])
def test_server_that_ends_by_itself_has_failed(store: Store, do: str, how: str) -> None:
    """Also with 0: so ends vLLM when its engine core has died."""
    code, err = finish(attended(store, serving(do)))
    assert code == 1
    assert err.startswith(f"caisson: export: a step ended by itself, with {how}\n    why is in its output above")
    assert events(store)[-1]["event"] == "ended"


def test_server_that_has_said_why_it_ends(store: Store) -> None:
    assert finish(attended(store, serving("ends", 3))) == (3, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("do", "code"), [("stops", 0), ("stops", 1), ("sleeps", 0)])
def test_server_that_is_stopped_ends_with_0(store: Store, number: signal.Signals, do: str, code: int) -> None:
    """Whatever code it ends with: while the engine is still loading, it knows no better than to die."""
    process = attended(store, serving(do, code))
    process.send_signal(number)
    assert finish(process) == (0, "")
    assert events(store)[-1]["stopped"] is True


def test_server_is_told_its_task(store: Store) -> None:
    made = serving("shows", X="given")
    process = attended(store, made)
    assert process.stdout
    given, _, task = process.stdout.readline().partition(" ")
    process.terminate()
    process.communicate(timeout=20)
    assert given == "given"
    assert json.loads(task)["job"] == made.job.model_dump(mode="json")


def test_store_that_cannot_be_written_ends_with_3(store: Store) -> None:
    (store.root / "n").touch()
    with pytest.raises(MachineError, match="cannot be written: Not a directory"):
        attend(serving("ends"), "n", store)
