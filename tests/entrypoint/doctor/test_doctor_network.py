"""The door's port."""

import socket

import pytest

from entrypoint.doctor.network import port_finding


def test_a_port_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        monkeypatch.setenv("PORT", str(holder.getsockname()[1]))
        found = port_finding()
        assert (found.state, "in use" in found.found) == ("warn", True)
    assert port_finding().state == "ok"


@pytest.mark.parametrize("said", ["http", "0", "65536", "-1"])
def test_a_port_that_is_none(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("PORT", said)
    assert port_finding().state == "fail"


def test_an_address_that_this_machine_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIND", "192.0.2.1")
    found = port_finding()
    assert (found.state, found.found.startswith("192.0.2.1:8000")) == ("warn", True)
