"""What a supervisor does when an engine misbehaves, with a stand-in that does so at once; test_serve.py has the real engine."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import outside_engine
import pytest
import served_model
from served_model import ROOT, Served

from entrypoint.run import store as stores
from entrypoint.run.promotion import promote, read_current
from entrypoint.run.seal import seal
from schemas.manifest import Manifest

ROWS = [
    {
        "kind": "row", "messages": [{"role": "user", "content": f"q{i}"}], "prompt_ids": [1, i + 10], "answer_ids": [5, 2], "logprobs": [-0.1, -0.2],
        "margins": [3.0, 3.0], "ended": True,
    }
    for i in range(3)
]  # fmt: skip

Start = Callable[..., Served]


def export(root: Path, name: str, *wrong: str) -> Path:
    """A sealed export with files that tell the stand-in what to do wrong."""
    partial = root / "tiny" / "exports" / f".partial-{name}"
    partial.mkdir(parents=True)
    (partial / "golden_answers.json").write_text(json.dumps({"prompts": ROWS}))
    for file in ("chat_template.jinja", *wrong):
        (partial / file).write_text(name)
    seal(partial, partial.with_name(name), Manifest(stage="export", name="tiny", identity=name, request="r", job={}, program="0", files=()))
    return partial.with_name(name)


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts serve over an export, with what a job says."""
    path = f"{outside_engine.install(tmp_path / 'outside')}:{ROOT}"
    monkeypatch.setattr(served_model, "ENVIRONMENT", {"PYTHONPATH": path})
    made: list[Served] = []

    def go(exported: Path, **job: Any) -> Served:
        made.append(Served(tmp_path, exported, tmp_path / f"served-{len(made)}", **job))
        return made[-1]

    yield go
    for served in made:
        served.remove()


def until(served: Served, kind: str, count: int = 1) -> None:
    end = time.monotonic() + 30
    while len(served.events(kind)) < count:
        assert time.monotonic() < end, served.said()
        time.sleep(0.05)


def test_an_engine_that_dies_again_and_again_ends_serve_with_1(start: Start, tmp_path: Path) -> None:
    served = start(export(tmp_path, "aaaa"), restarts=2)
    generation = 0
    for _ in range(3):
        served.wait_for("ready", 30, after=generation)
        generation = served.active()["generation"]
        os.kill(served.engine(), signal.SIGKILL)
        time.sleep(0.6)
    assert served.wait(30) == 1
    assert "caisson: serve: the engine of tiny was lost 3 times within 10 minutes; the last time: its process ended with signal SIGKILL" in served.said()
    assert served.active()["state"] == "failed"


def test_an_engine_that_never_starts_is_not_started_again(start: Start, tmp_path: Path) -> None:
    served = start(export(tmp_path, "aaaa", "dies"))
    assert served.wait(30) == 1
    assert len(served.events("loading")) == 1
    assert "its process ended with exit code 9" in served.said() and "Traceback" not in served.said()


def test_warn_says_the_same_and_serves(start: Start, tmp_path: Path) -> None:
    served = start(export(tmp_path, "aaaa", "other"), parity="warn")
    served.wait_for("ready", 30)
    assert served.events("parity")[0]["verdict"] == "warned"
    assert "serve: warning: serve: parity: golden prompt 1 of 3 (row), token 1 of its prompt:" in served.said()
    assert served.stop() == 0


def test_an_engine_that_hangs(start: Start, tmp_path: Path) -> None:
    served = start(export(tmp_path, "aaaa"), silent_seconds=5.0)
    served.wait_for("ready", 30)
    time.sleep(9.5)
    assert not served.events("lost"), "an idle one is asked for a token, and gives it"
    generation = served.active()["generation"]
    os.kill(served.engine(), signal.SIGSTOP)
    assert served.wait_for("loading", 20, after=generation) < 14
    served.wait_for("ready", 30, after=generation)


def test_a_stop_while_it_loads_ends_with_0(start: Start, tmp_path: Path) -> None:
    served = start(export(tmp_path, "aaaa"))
    while served.active()["state"] != "loading":
        time.sleep(0.02)
    assert served.stop() == 0
    assert not served.events("failed") and "Traceback" not in served.said()


def test_a_stop_lets_a_request_in_flight_finish(start: Start, tmp_path: Path) -> None:
    served = start(export(tmp_path, "aaaa"))
    served.wait_for("ready", 30)
    answers: list[int] = []
    body = {"messages": ROWS[0]["messages"], "wait": 3}
    asking = threading.Thread(target=lambda: answers.append(served.ask("/v1/chat/completions", body)[0]))
    asking.start()
    time.sleep(0.5)
    assert served.stop() == 0
    asking.join()
    assert answers == [200]


def test_no_engine_outlives_a_supervisor_that_is_killed(start: Start, tmp_path: Path) -> None:
    served = start(export(tmp_path, "aaaa"))
    served.wait_for("ready", 30)
    engine = served.engine()
    served.process.kill()
    served.process.wait()
    end = time.monotonic() + 10
    while Path(f"/proc/{engine}").exists() and "Z" not in Path(f"/proc/{engine}/stat").read_text().split()[2]:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_gateway_that_does_not_follow_holds_nothing_up_for_ever(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has answered before, and is gone."""
    export(tmp_path, "bbbb")
    served = start(export(tmp_path, "aaaa"), handover="overlap")
    served.wait_for("ready", 30)
    (served.control / "gateway.json").write_text('{"generation": 1}')
    promote(stores.Store(tmp_path), "tiny", "bbbb", "promote")
    until(served, "promoted")
    assert served.active()["upstream"] == f"127.0.0.1:{served.job.ports[1]}"
    assert not served.events("drained"), "the old one goes on for those that the gateway still sends"
    assert served.stop() == 0


def test_a_damaged_export_is_never_loaded(start: Start, tmp_path: Path) -> None:
    damaged = export(tmp_path, "bbbb")
    served = start(export(tmp_path, "aaaa"), handover="overlap")
    served.wait_for("ready", 30)
    (served.control / "gateway.json").write_text('{"generation": 1000}')
    promote(stores.Store(tmp_path), "tiny", "aaaa", "export")
    promote(stores.Store(tmp_path), "tiny", "bbbb", "promote")
    (damaged / "golden_answers.json").write_text(json.dumps({"prompts": ROWS}).replace("q1", "q7"))
    until(served, "promotion_failed")
    assert "altered after it was sealed" in served.events("promotion_failed")[0]["what"]
    assert [e["export"] for e in served.events("loading")] == ["aaaa"]
    time.sleep(0.3)
    current = read_current(stores.Store(tmp_path), "tiny")
    assert current and current.export == "aaaa"


def test_an_engine_without_a_port_only_has_to_live(start: Start, tmp_path: Path) -> None:
    """One of several nodes; another answers, and asks the golden prompts of all."""
    served = start(export(tmp_path, "aaaa", "other"), headless=True)
    served.wait_for("ready", 30)
    assert not served.events("parity")
    generation = served.active()["generation"]
    os.kill(served.engine(), signal.SIGKILL)
    served.wait_for("ready", 30, after=generation)
    assert served.stop() == 0
