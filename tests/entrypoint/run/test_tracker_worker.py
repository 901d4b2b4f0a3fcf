"""A tracker may raise, hang and come back: rows arrive once and in order, and nothing of it reaches the caller."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from entrypoint.run import tracker_worker
from entrypoint.run.events import Events
from entrypoint.run.tracker_worker import Row, Worker, kind_of, named
from schemas.track import TrackerJob

ROWS: list[dict[str, Any]] = [
    {"loss": 3.0, "epoch": 0.5, "step": 1, "time": 100.0},
    {"loss": 2.0, "epoch": 1.0, "step": 2, "time": 101.0},
    {"eval_loss": 2.5, "epoch": 1.0, "step": 2, "time": 102.0},
    {"train_runtime": 3.0, "train_loss": 2.5, "epoch": 1.0, "step": 2, "time": 103.0},
]


class Recorder:
    """A client that keeps what it is told; `fail` may raise in any of its methods."""

    def __init__(self, had: dict[str, int] | None = None, fail: Callable[[str], None] = lambda where: None):
        self.had, self.fail = had or {}, fail
        self.rows: list[Row] = []
        self.ended: list[bool] = []

    def open(self) -> dict[str, int]:
        self.fail("open")
        return self.had

    def log(self, rows: Any) -> None:
        self.fail("log")
        self.rows += rows

    def close(self, finished: bool) -> None:
        self.fail("close")
        self.ended.append(finished)


def times(count: int, where: str, error: Exception) -> Callable[[str], None]:
    """Raises the first `count` times that it gets there."""
    left = [count]

    def fail(here: str) -> None:
        if here == where and left[0] > 0:
            left[0] -= 1
            raise error

    return fail


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker_worker, "RETRY_SECONDS", 0.01)


@pytest.fixture
def track(tmp_path: Path):
    """Runs a worker over ROWS to its end: what was said, and the events."""

    def run(
        *clients: Recorder, online: bool = False, secret: str | None = None, step_by_step: bool = True, finished: bool = True
    ) -> tuple[list[str], list[dict[str, Any]]]:
        said: list[str] = []
        given = {True: clients[0], False: clients[-1]}
        worker = Worker(TrackerJob(kind="mlflow", online=online), given.__getitem__, ROWS, Events(tmp_path / "e.jsonl"), said.append, secret)
        worker.start()
        for count in range(1, len(ROWS) + 1) if step_by_step else (len(ROWS),):
            worker.tell(count)
        worker.close(finished)
        worker.join(10)
        assert not worker.is_alive()
        lines = (tmp_path / "e.jsonl").read_text().splitlines()
        return said, [{k: v for k, v in json.loads(line).items() if k != "at"} for line in lines]

    return run


@pytest.mark.parametrize("finished", [True, False])
def test_every_row_once_in_order_and_closed(track: Any, finished: bool) -> None:
    client = Recorder()
    said, events = track(client, finished=finished)
    assert client.rows == ROWS
    assert client.ended == [finished]
    assert said == []
    assert events == [{"event": "tracked", "tracker": "mlflow", "mode": "offline", "rows": 4, "missing": 0, "failures": 0}]


def test_a_backlog_is_handed_over_together(track: Any) -> None:
    client = Recorder()
    calls: list[str] = []
    client.fail = calls.append
    track(client, step_by_step=False)
    assert calls == ["open", "log", "close"]


def test_what_the_run_has_is_left_out_by_the_kind_of_row(track: Any) -> None:
    client = Recorder(had={"train": 2})
    track(client)
    assert client.rows == ROWS[2:], "the evaluation of step 2 had not got through"


@pytest.mark.parametrize("where", ["open", "log", "close"])
def test_a_failure_is_said_once_and_counted_and_what_was_held_back_follows(track: Any, where: str) -> None:
    client = Recorder(fail=times(1, where, OSError(28, "No space left on device")))
    said, events = track(client)
    failed = [e for e in events if e["event"] == "tracker_failed"]
    assert failed == [{"event": "tracker_failed", "tracker": "mlflow", "what": "OSError: [Errno 28] No space left on device", "failures": 1}]
    assert said[0].startswith("  tracker mlflow: OSError: [Errno 28] No space left on device; training goes on")
    if where != "close":  # the last attempt is the end
        assert (client.rows, client.ended, len(said)) == (ROWS, [True], 1)


def test_one_that_never_works_is_left_with_its_count(track: Any) -> None:
    client = Recorder(fail=times(10**6, "log", RuntimeError("gone")))
    said, events = track(client)
    assert events[-1]["missing"] == 4 and events[-1]["failures"] >= 1
    assert len(said) == 2 and said[1].endswith("4 of 4 rows did not get through; curve.json has them all")


def test_a_server_that_is_not_there_at_the_start_is_replaced_by_the_artifact(track: Any) -> None:
    server, artifact = Recorder(fail=times(10**6, "open", ConnectionError("refused"))), Recorder()
    said, events = track(server, artifact, online=True)
    assert (server.rows, artifact.rows, artifact.ended) == ([], ROWS, [True])
    assert len(said) == 1 and "it is written into the artifact instead" in said[0]
    assert events[-1] == {"event": "tracked", "tracker": "mlflow", "mode": "offline", "rows": 4, "missing": 0, "failures": 1}


def test_a_server_that_goes_away_for_good_leaves_all_rows_to_the_artifact(track: Any) -> None:
    server, artifact = Recorder(), Recorder()
    server.fail = lambda where: times(1, "log", ConnectionError("reset"))(where) if server.rows else None
    _, events = track(server, artifact, online=True)
    assert server.rows == ROWS or artifact.rows == ROWS
    assert events[-1]["missing"] == 0


def test_the_key_is_in_no_message(track: Any, tmp_path: Path) -> None:
    client = Recorder(fail=times(1, "open", PermissionError("401 for key s3cr3t-k3y")))
    said, _ = track(client, secret="s3cr3t-k3y")
    assert "401 for key ..." in said[0]
    assert "s3cr3t-k3y" not in said[0] + (tmp_path / "e.jsonl").read_text()


def test_a_client_that_hangs_holds_nobody(tmp_path: Path) -> None:
    release = threading.Event()
    client = Recorder(fail=lambda where: None if where != "log" else (release.wait(10), None)[1])
    worker = Worker(TrackerJob(kind="wandb"), lambda online: client, ROWS, Events(tmp_path / "e.jsonl"), print)
    worker.start()
    for count in range(1, len(ROWS) + 1):
        worker.tell(count)
    worker.close(True)
    worker.join(0.05)
    assert worker.is_alive() and worker.daemon
    release.set()
    worker.join(10)
    assert client.rows == ROWS


def test_kinds_and_names() -> None:
    assert [kind_of(row) for row in ROWS] == ["train", "train", "eval", "end"]
    assert named(ROWS[0]) == {"train/loss": 3.0, "train/epoch": 0.5}
    assert named(ROWS[2]) == {"eval/loss": 2.5}
    assert named({"loss": 1, "note": "text", "flag": None, "step": 1}) == {"train/loss": 1.0}


def test_events_that_cannot_be_written_do_not_end_the_worker(tmp_path: Path) -> None:
    """As on a disk that is full for a while: the tracker fails, its event too, and both come back."""
    events = Events(tmp_path / "e.jsonl")
    events.path.mkdir()  # a folder cannot be appended to
    client = Recorder(fail=times(1, "log", OSError("no space left")))
    said: list[str] = []
    worker = Worker(TrackerJob(kind="mlflow", online=False), lambda online: client, ROWS, events, said.append)
    worker.start()
    worker.tell(len(ROWS))
    worker.close(True)
    worker.join(10)
    assert client.rows == ROWS
    assert len(said) == 1 and "no space left" in said[0]
