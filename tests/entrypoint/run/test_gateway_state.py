"""What the gateway sees of its files."""

import json
import socket
from pathlib import Path

import pytest

from entrypoint.run.gateway_state import LOADING, Places, acknowledge, find_certificate, look, resolve
from schemas.active import Acknowledged
from schemas.errors import MachineError

ACTIVE = {"generation": 7, "state": "ready", "upstream": "localhost:8001", "models": ["m"], "retry_after": 30}


@pytest.fixture
def places(tmp_path: Path) -> Places:
    made = Places(told=tmp_path / "told", secrets=tmp_path / "secrets")
    made.told.mkdir()
    made.secrets.mkdir()
    (made.secrets / "keys").write_text("x" * 32 + " alice\n")
    return made


def test_what_serve_tells(places: Places) -> None:
    (places.told / "active.json").write_text(json.dumps(ACTIVE))
    (places.told / "control").write_text("secret\n")
    state = look(places)
    assert (state.active.generation, state.active.models, state.address, state.control) == (7, ("m",), "127.0.0.1:8001", "secret")
    assert [key.name for key in state.keys] == ["alice"]
    assert look(places) == state


def test_before_serve_says_anything(places: Places) -> None:
    state = look(places)
    assert (state.active, state.address, state.control) == (LOADING, None, None)


@pytest.mark.parametrize("text", ["", "{", '{"generation": 1, "state": "asleep", "upstream": null}'])
def test_what_serve_should_never_write(places: Places, text: str) -> None:
    (places.told / "active.json").write_text(text)
    with pytest.raises(ValueError, match=r"active\.json is not what it should be"):
        look(places)


def test_a_container_that_is_gone_has_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert resolve("serve:8001") is None


def test_a_certificate_is_two_files_and_known_by_its_content(tmp_path: Path) -> None:
    assert find_certificate(tmp_path) is None
    (tmp_path / "tls.crt").write_text("chain")
    with pytest.raises(MachineError, match=r"tls\.crt is there and tls\.key is not"):
        find_certificate(tmp_path)
    (tmp_path / "tls.key").write_text("key")
    first = find_certificate(tmp_path)
    (tmp_path / "tls.crt").write_text("renewed")
    second = find_certificate(tmp_path)
    assert first and second and first.digest != second.digest and first.chain == second.chain


def test_the_answer_to_serve(tmp_path: Path) -> None:
    acknowledge(tmp_path, 7)
    assert Acknowledged.model_validate_json((tmp_path / "gateway.json").read_text()).generation == 7
    assert [path.name for path in tmp_path.iterdir()] == ["gateway.json"]
