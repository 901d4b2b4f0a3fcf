"""Signals, kills, two runs at once, and servers: what is left when somebody or something ends a process."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from executor_process import PARENT, Recorded, doing, events, parent, started
from kept_store import plan, step

from entrypoint.run.execute import attend, execute
from entrypoint.run.store import Store
from schemas.errors import MachineError
from schemas.plan import Step


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
    return started(ATTEND, store, made)


def test_server_that_ends_by_itself_has_failed(store: Store) -> None:
    """Also with 0: so ends vLLM when its engine core has died."""
    code, err = finish(attended(store, serving("ends")))
    assert code == 1
    assert err.startswith("caisson: export: a step ended by itself, with exit code 0\n    why is in its output above")
    assert events(store)[-1]["event"] == "ended"


def test_server_that_is_killed_may_have_run_out_of_memory(store: Store) -> None:
    code, err = finish(attended(store, serving("dies")))
    assert code == 1
    assert err.startswith("caisson: export: a step was ended by SIGKILL, as the kernel does where memory runs out\n    if nobody else has ended it, give")
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
    with pytest.raises(MachineError, match="n is no folder, which is in the way") as caught:
        attend(serving("ends"), "n", store)
    assert "chown" not in str(caught.value)


def test_a_lock_that_is_removed_while_it_is_held_seals_nothing(store: Store, running: list["subprocess.Popen[str]"]) -> None:
    """Another run takes a new lock and writes into the same folder: neither may say that what lies there is its own."""
    made = slow(pause=0.1)
    running.append(parent(store, made))
    lock = store.root / made.folder / f".lock-{made.work_id}"
    lock.unlink()
    code, err = finish(running[0])
    assert code == 3
    assert f"{lock} was removed or replaced while it was held" in err
    assert store.find(made) is None
    execute(plan(made), store)
    assert store.find(made)
