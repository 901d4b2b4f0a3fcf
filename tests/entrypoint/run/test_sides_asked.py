"""What evaluate hears of the service that runs its engines, and what it makes of silence."""

import json
import threading
import time
from pathlib import Path

import pytest

from entrypoint.run import sides_asked
from entrypoint.run.control import put
from entrypoint.run.sides_asked import Asking, dismiss, read_told
from schemas.errors import CaissonError, GateRefused, MachineError, StepFailed
from schemas.evaluate_job import ASKED, TOLD, SideTold


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sides_asked, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(sides_asked, "BEAT_SECONDS", 0.02)


def say(folder: Path, **said: object) -> SideTold:
    told = SideTold.model_validate(said)
    put(folder, TOLD, told.model_dump_json())
    return told


def asked(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / ASKED).read_text()))


def test_outside_of_compose_nobody_serves(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="nobody serves the two models") as refused:
        Asking(tmp_path / "caisson", "e")
    assert "docker compose run --rm evaluate" in str(refused.value)


def test_waits_for_the_side_that_it_wants(tmp_path: Path) -> None:
    asking = Asking(tmp_path, "e")
    say(tmp_path, state="ready", side="base", start=1, url="http://sides:8001/v1", beat=1)
    base = asking.want("base")
    assert (base.side, asked(tmp_path)["side"], asked(tmp_path)["export"]) == ("base", "base", "e")
    threading.Timer(0.1, say, (tmp_path,), {"state": "ready", "side": "tuned", "start": 2, "beat": 2}).start()
    assert asking.want("tuned").start == 2, "not the base, which is ready still"
    assert not asking.is_still(base)
    asking.close()


def test_another_start_is_another_engine(tmp_path: Path) -> None:
    asking = Asking(tmp_path, "e")
    before = say(tmp_path, state="ready", side="base", start=1, beat=1)
    assert asking.is_still(before)
    say(tmp_path, state="loading", side="base", start=1, beat=2)
    assert not asking.is_still(before)
    say(tmp_path, state="ready", side="base", start=2, beat=3)
    assert not asking.is_still(before)


def test_it_is_heard_of_as_long_as_it_asks(tmp_path: Path) -> None:
    say(tmp_path, state="ready", side="base", start=1, beat=1)
    asking = Asking(tmp_path, "e")
    asking.want("base")
    first = asked(tmp_path)["beat"]
    time.sleep(0.2)
    assert asked(tmp_path)["beat"] > first  # type: ignore[operator]
    asking.close()


@pytest.mark.parametrize(("code", "error"), [(4, GateRefused), (3, MachineError), (1, StepFailed)])
def test_what_sides_failed_with_ends_the_stage_alike(tmp_path: Path, code: int, error: type[CaissonError]) -> None:
    say(tmp_path, state="failed", exit_code=code, what="parity: another answer", fix="export again", beat=1)
    with pytest.raises(error, match="parity: another answer\n    export again"):
        Asking(tmp_path, "e").want("tuned")


def test_silence(tmp_path: Path) -> None:
    say(tmp_path, state="loading", side="base", beat=1)
    with pytest.raises(StepFailed, match="sides has not been heard of"):
        Asking(tmp_path, "e", silent_seconds=0.1).want("base")


def test_dismissed_while_it_has_an_engine(tmp_path: Path) -> None:
    say(tmp_path, state="ready", side="tuned", start=2, beat=9)
    threading.Timer(0.1, say, (tmp_path,), {"state": "ended", "beat": 10}).start()
    dismiss(tmp_path)
    told = read_told(tmp_path)
    assert told and told.state == "ended" and asked(tmp_path)["side"] == "none"
    dismiss(tmp_path / "nowhere")
