"""Ready when the supervisor says so and lives, and at no other time."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from entrypoint.run import ready
from entrypoint.run.control import Control
from entrypoint.run.supervisor import BEAT_SECONDS

ROOT = Path(__file__).resolve().parents[3]
NOW = 1_000_000.0


def said(**changes: Any) -> dict[str, Any]:
    return {"state": "ready", "at": NOW - 3, "export": "x"} | changes


def test_ready() -> None:
    assert ready.why_not(said(), NOW) == ""


@pytest.mark.parametrize("state", ["loading", "failed", None])
def test_a_server_that_loads_or_failed(state: str | None) -> None:
    assert ready.why_not(said(state=state), NOW) == str(state)


def test_a_supervisor_that_hangs() -> None:
    assert ready.why_not(said(at=NOW - ready.STALE_SECONDS - 1), NOW) == "the supervisor has not been heard of for 31 s"
    assert ready.STALE_SECONDS > 4 * BEAT_SECONDS


@pytest.mark.parametrize("document", [None, [], {}, "ready", {"state": "ready"}, {"state": "ready", "at": "now"}])
def test_what_is_no_document(document: Any) -> None:
    assert ready.why_not(document, NOW)


@pytest.mark.parametrize("text", ["", "{", '{"state": "ready"'])
def test_half_a_document(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "health.json").write_text(text)
    assert ready.main(tmp_path) == 1
    assert capsys.readouterr().out.startswith("not ready: ")


def test_nothing_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ready.main(tmp_path) == 1
    assert "No such file" in capsys.readouterr().out


def test_what_serve_writes_is_understood(tmp_path: Path) -> None:
    control = Control(tmp_path)
    control.open()
    control.tell("loading", models=["n"])
    assert ready.main(tmp_path) == 1
    control.tell("ready", models=["n"], upstream="serve:8001")
    assert ready.main(tmp_path) == 0


@pytest.mark.parametrize(("state", "code"), [("ready", 0), ("loading", 1)])
def test_as_compose_starts_it(tmp_path: Path, state: str, code: int) -> None:
    (tmp_path / "health.json").write_text(json.dumps(said(state=state, at=time.time())))
    done = subprocess.run([sys.executable, "-m", "entrypoint.run.ready", str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (code, "")
