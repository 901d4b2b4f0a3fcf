"""The store's memory of trainings: appended, bounded, and safe against what a kill leaves."""

import threading
from pathlib import Path

import pytest
from measured_run import measured

from entrypoint.probe import probe
from entrypoint.run.history import CUT_AT, remember
from schemas.history import HISTORY, KEPT, read_history


def test_appended_and_read_by_the_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAISSON_ACCELERATOR", "cpu")
    assert probe(tmp_path).history == ()
    for seconds in (1.0, 2.0):
        remember(tmp_path, measured(seconds).model_dump(mode="json"))
    assert probe(tmp_path).history == (measured(1.0), measured(2.0))


def test_a_line_that_was_cut_costs_itself_alone(tmp_path: Path) -> None:
    remember(tmp_path, measured(1.0).model_dump(mode="json"))
    path = tmp_path / HISTORY
    path.write_bytes(path.read_bytes() + path.read_bytes()[:100])
    remember(tmp_path, measured(3.0).model_dump(mode="json"))
    assert [one.step_seconds for one in read_history(path.read_bytes())] == [1.0, 3.0]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe\x00", b"[" * 100_000, b'{"at": 1}', b'{"x": "' + b"y" * 10**6 + b'"}'])
def test_what_is_no_history_is_none(content: bytes) -> None:
    assert read_history(content) == ()


def test_it_stays_bounded(tmp_path: Path) -> None:
    path = tmp_path / HISTORY
    path.write_text("".join(measured(1.0 + at).model_dump_json() + "\n" for at in range(CUT_AT)))
    remember(tmp_path, measured(0.5).model_dump(mode="json"))
    lines = path.read_bytes().splitlines()
    assert len(lines) == KEPT
    assert read_history(path.read_bytes())[-1] == measured(0.5)
    assert read_history(path.read_bytes())[0].step_seconds == 1.0 + CUT_AT - KEPT + 1


def test_runs_that_end_at_once_lose_none(tmp_path: Path) -> None:
    threads = [threading.Thread(target=remember, args=(tmp_path, measured(1.0 + at).model_dump(mode="json"))) for at in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.step_seconds for one in read_history((tmp_path / HISTORY).read_bytes())) == [1.0 + at for at in range(20)]


def test_a_measurement_of_another_form_and_a_store_that_takes_nothing_are_passed_over(tmp_path: Path) -> None:
    remember(tmp_path, {"at": 1})
    assert not (tmp_path / HISTORY).exists()
    (tmp_path / HISTORY).mkdir()
    remember(tmp_path, measured(1.0).model_dump(mode="json"))
