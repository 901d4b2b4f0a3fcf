"""Several nodes at one artifact: one leads and seals, the others help; what follows when one of them goes."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from executor_process import Recorded
from kept_store import plan, step

from entrypoint.run.execute import Told, execute
from entrypoint.run.store import Store
from schemas.errors import Interrupted, MachineError, StepFailed
from schemas.job import AdapterJob, TrainJob
from schemas.method import Sft
from schemas.plan import Step

JOB = TrainJob(
    method=Sft(kind="sft"), adapter=AdapterJob(kind="full"), device="cpu", strategy="ddp", ranks=2, nodes=2, precision="fp32", epochs=1, max_steps=None,
    learning_rate=0.1, weight_decay=0, max_grad_norm=1, micro_batch=1, accumulation=1, gradient_checkpointing=False,
    checkpoint_every=1, keep=1, seed=1, track=(),
)  # fmt: skip


def shared(nodes: int = 2) -> Step:
    return step(stage="train", folder="n/train", job=JOB.model_copy(update={"nodes": nodes}), argv=("python", "-m", "entrypoint.run.launch", "{task}"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


class Led:
    """Another node that leads, in a thread of its own, and is at work until it is told to end."""

    def __init__(self, store: Store, ends: Callable[[], None]):
        self.at_work, self.may_end = threading.Event(), threading.Event()
        self.store, self.ends = store, ends
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        assert self.at_work.wait(10)

    def _run(self) -> None:
        def launch(made: Step, argv: tuple[str, ...], environment: dict[str, str], lock: int | None) -> int:
            self.at_work.set()
            assert self.may_end.wait(10)
            self.ends()
            return Recorded()(made, argv, environment, lock or 0)

        try:
            execute(plan(shared()), self.store, launch)
        except KeyboardInterrupt:
            return


class Helps:
    """The part of a node that helps; lets the one that leads go on, and ends with a code."""

    def __init__(self, led: Led, code: int = 0):
        self.led, self.code = led, code
        self.locks: list[int | None] = []
        self.tasks: list[tuple[Path, dict[str, str]]] = []

    def __call__(self, made: Step, argv: tuple[str, ...], environment: dict[str, str], lock: int | None) -> int:
        self.locks.append(lock)
        self.tasks.append((Path(argv[-1]), json.loads(Path(argv[-1]).read_text())))
        self.led.may_end.set()
        return self.code


def nothing() -> None:
    """Ends well."""


def died() -> None:
    """As a node that is killed: nothing after this is run."""
    raise KeyboardInterrupt


def events(store: Store) -> list[str]:
    return [json.loads(line)["event"] for line in (store.logs("n") / "train.jsonl").read_text().splitlines()]


def test_the_second_helps_and_waits_until_the_first_has_sealed(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    led = Led(store, nothing)
    helps = Helps(led)
    execute(plan(shared()), store, helps)
    led.thread.join()
    assert store.find(shared())
    assert helps.locks == [None], "the lock stays with the first"
    ((path, task),) = helps.tasks
    assert not path.is_relative_to(store.root) and not path.exists(), "two nodes would write one file"
    assert task["output"] == str(store.partial(shared()))
    assert events(store) == ["started", "sealed"]
    assert "sealed by the node that leads (n/train/" in capsys.readouterr().out


def test_one_node_is_told_as_ever(store: Store) -> None:
    led = Led(store, nothing)
    with pytest.raises(MachineError, match="another train is writing"):
        execute(plan(shared(nodes=1)), store, Helps(led))
    led.may_end.set()
    led.thread.join()


@pytest.mark.parametrize(("code", "error"), [(75, Told), (4, Told), (3, Told), (1, StepFailed)])
def test_a_node_that_helps_ends_with_the_code_of_its_ranks(store: Store, code: int, error: type[Exception]) -> None:
    led = Led(store, nothing)
    with pytest.raises(error):
        execute(plan(shared()), store, Helps(led, code))
    led.thread.join()


def test_where_the_first_dies_before_its_end_the_second_leads(store: Store) -> None:
    led = Led(store, died)
    recorded = Recorded()
    helps = Helps(led)

    def launch(made: Step, argv: tuple[str, ...], environment: dict[str, str], lock: int | None) -> int:
        return helps(made, argv, environment, lock) if lock is None else recorded(made, argv, environment, lock)

    execute(plan(shared()), store, launch)
    led.thread.join()
    assert store.find(shared())
    assert len(helps.locks) == len(recorded.calls) == 1


def leave_done(store: Store) -> None:
    """All ranks have ended well, and the node that led died before it sealed."""

    def launch(made: Step, argv: tuple[str, ...], environment: dict[str, str], lock: int | None) -> int:
        Recorded()(made, argv, environment, lock or 0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(plan(shared()), store, launch)


def test_what_all_have_done_is_sealed_without_them(store: Store) -> None:
    """They have ended, and nobody would meet this one."""
    leave_done(store)
    recorded = Recorded()
    execute(plan(shared()), store, recorded)
    assert store.find(shared()) and recorded.calls == []


def test_a_node_that_comes_back_after_the_work_waits_for_the_seal_alone(store: Store) -> None:
    """Its launcher would wait for nodes that have ended."""
    led = Led(store, nothing)
    Path(store.root / "n/train" / f".summary-{shared().id}.json").write_text("{}")
    helps = Helps(led)
    threading.Timer(0.5, led.may_end.set).start()
    execute(plan(shared()), store, helps)
    led.thread.join()
    assert store.find(shared()) and helps.tasks == []


def test_a_first_rank_that_died_before_its_last_word_means_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """On another node: the launcher of this one has seen its own ranks end well."""
    monkeypatch.setattr("entrypoint.run.execute.SEEN_SECONDS", 0.1)
    with pytest.raises(Interrupted, match="the node of the first process died before"):
        execute(plan(shared()), store, lambda *_: 0)
    assert store.find(shared()) is None
    execute(plan(shared()), store, Recorded())
    assert store.find(shared())


def test_a_summary_without_its_folder_counts_for_nothing(store: Store) -> None:
    """Left by one that was killed between the seal and its last line, and whose artifact was damaged later."""
    leave_done(store)
    store.partial(shared()).rename(store.root / "sealed and gone")
    recorded = Recorded()
    execute(plan(shared()), store, recorded)
    assert len(recorded.calls) == 1
