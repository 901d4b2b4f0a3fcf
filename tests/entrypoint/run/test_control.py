"""What serve and the gateway tell each other through one folder."""

import json
import re
import stat
from pathlib import Path

import pytest

from entrypoint.run.control import Control
from schemas.errors import MachineError


def active(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / "active.json").read_text()))


@pytest.fixture
def control(tmp_path: Path) -> Control:
    made = Control(tmp_path / "caisson")
    made.open()
    return made


def test_the_gateway_s_key_is_in_a_file_that_only_the_group_reads(control: Control) -> None:
    file = control.folder / "control"
    assert file.read_text() == control.key
    assert stat.S_IMODE(file.stat().st_mode) == 0o440
    assert re.fullmatch("[0-9a-f]{64}", control.key)


def test_the_supervisor_s_own_key_is_another_and_in_no_file(control: Control) -> None:
    control.tell("ready", models=["n"], upstream="serve:8001")
    assert re.fullmatch("[0-9a-f]{64}", control.own) and control.own != control.key
    assert all(control.own not in file.read_text() for file in control.folder.iterdir())


def test_every_start_has_new_keys(tmp_path: Path) -> None:
    first, second = Control(tmp_path), Control(tmp_path)
    first.open()
    second.open()
    assert first.key != second.key and first.own != second.own
    assert (tmp_path / "control").read_text() == second.key


def test_what_is_told(control: Control) -> None:
    control.tell("ready", models=["n", "n-terse"], upstream="serve:8001", retry_after=64)
    assert active(control.folder) == {"generation": 1, "state": "ready", "upstream": "serve:8001", "models": ["n", "n-terse"], "retry_after": 64}


def test_the_generation_counts_changes_and_nothing_else(control: Control) -> None:
    assert control.tell("loading", models=["n"]) == 1
    assert control.tell("loading", models=["n"]) == 1
    control.beat(sign_of_life=7.0)
    assert active(control.folder)["generation"] == 1
    assert control.tell("ready", models=["n"], upstream="serve:8001") == 2
    assert control.tell("ready", models=["n"], upstream="serve:8002") == 3


def test_health_is_a_document_of_its_own(control: Control) -> None:
    """What changes every few seconds is none of the gateway's business."""
    control.tell("loading", models=["n"])
    control.beat(sign_of_life=7.0)
    control.tell("ready", models=["n"], upstream="serve:8001")
    said = json.loads((control.folder / "health.json").read_text())
    assert isinstance(said.pop("at"), float)
    assert said == {"state": "ready", "sign_of_life": 7.0}


def test_a_later_serve_counts_on(control: Control) -> None:
    """A gateway that lived through it would take the same number for the same thing."""
    control.tell("loading", models=["n"])
    control.tell("ready", models=["n"], upstream="serve:8001")
    later = Control(control.folder)
    later.open()
    assert later.tell("loading", models=["n"]) == 3


def test_counts_on_from_what_the_gateway_knows(tmp_path: Path) -> None:
    (tmp_path / "gateway.json").write_text('{"generation": 41}')
    control = Control(tmp_path)
    control.open()
    assert control.tell("loading", models=["n"]) == 42


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"generation": "x"}', "null", "\x00"])
def test_what_the_gateway_wrote_may_be_anything(control: Control, text: str) -> None:
    (control.folder / "gateway.json").write_text(text)
    assert control.has_gateway()
    assert not control.has_followed(1)


def test_the_gateway_follows(control: Control) -> None:
    assert not control.has_gateway()
    (control.folder / "gateway.json").write_text('{"generation": 2}')
    assert [control.has_followed(g) for g in (1, 2, 3)] == [True, True, False]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="tmpfs"):
        Control(tmp_path / "file").open()
