"""What the gateway sees of its files."""

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from entrypoint.run.gateway_state import acknowledge, find_certificate, is_silent, read_active, read_control, resolve
from schemas.active import Acknowledged
from schemas.errors import MachineError

ACTIVE = {"generation": 7, "state": "ready", "upstream": "localhost:8001", "models": ["m"], "retry_after": 30}


def test_what_serve_tells(tmp_path: Path) -> None:
    assert read_active(tmp_path) is None and read_control(tmp_path) is None
    (tmp_path / "active.json").write_text(json.dumps(ACTIVE))
    (tmp_path / "control").write_text("secret\n")
    found = read_active(tmp_path)
    assert found and (found.generation, found.state, found.upstream, found.models) == (7, "ready", "localhost:8001", ("m",))
    assert read_control(tmp_path) == "secret"


@pytest.mark.parametrize("text", ["", "{", '{"generation": 1, "state": "asleep", "upstream": null}'])
def test_what_serve_should_never_write(tmp_path: Path, text: str) -> None:
    (tmp_path / "active.json").write_text(text)
    with pytest.raises(ValueError, match=r"active\.json is not what it should be"):
        read_active(tmp_path)


def test_a_server_that_falls_silent(tmp_path: Path) -> None:
    assert not is_silent(tmp_path)
    for text, silent in ((json.dumps({"at": time.time()}), False), (json.dumps({"at": time.time() - 60}), True), ("{", False), ("[]", False)):
        (tmp_path / "health.json").write_text(text)
        assert is_silent(tmp_path) is silent


def test_a_container_that_is_gone_has_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert resolve("serve:8001") is None


def make_pair(folder: Path) -> None:
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost"]
    subprocess.run([*made, "-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt")], check=True, capture_output=True)


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl to make a certificate")
def test_a_certificate_is_two_files_that_fit_and_is_known_by_its_content(tmp_path: Path) -> None:
    assert find_certificate(tmp_path) is None
    make_pair(tmp_path)
    first, key = find_certificate(tmp_path), (tmp_path / "tls.key").read_text()
    make_pair(tmp_path)
    second = find_certificate(tmp_path)
    assert first and second and first.digest != second.digest
    (tmp_path / "tls.key").write_text(key)
    with pytest.raises(MachineError, match="no pair in PEM"):
        find_certificate(tmp_path)
    subprocess.run(
        ["openssl", "ec", "-aes128", "-passout", "pass:word", "-in", str(tmp_path / "tls.key"), "-out", str(tmp_path / "tls.key")],
        check=True,
        capture_output=True,
    )
    with pytest.raises(MachineError, match="the key is encrypted"):
        find_certificate(tmp_path)
    (tmp_path / "tls.key").unlink()
    with pytest.raises(MachineError, match=r"tls\.crt is there and tls\.key is not"):
        find_certificate(tmp_path)


def test_the_answer_to_serve(tmp_path: Path) -> None:
    acknowledge(tmp_path, 7)
    assert Acknowledged.model_validate_json((tmp_path / "gateway.json").read_text()).generation == 7
    assert [path.name for path in tmp_path.iterdir()] == ["gateway.json"]
