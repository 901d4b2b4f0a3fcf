"""Where a node is reached, by the route to the rendezvous."""

import socket
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from entrypoint.run.address import own_address, wait_for_answer
from schemas.errors import MachineError


@pytest.mark.parametrize("rendezvous", ["127.0.0.1:29400", "localhost:29400"])
def test_a_rehearsal_on_one_machine(rendezvous: str) -> None:
    found = own_address(rendezvous)
    assert (found.interface, found.is_rendezvous) == ("lo", True)
    assert found.ip in ("127.0.0.1", "::1")


def outward() -> list[tuple[str, str]]:
    """Interfaces of this machine that lead somewhere, each with its address."""
    return [
        (name, a.address) for name, found in psutil.net_if_addrs().items() for a in found if a.family == socket.AF_INET and not a.address.startswith("127.")
    ]


@pytest.mark.skipif(not outward(), reason="no network here")
def test_the_node_of_the_rendezvous_knows_that_it_is() -> None:
    name, ip = outward()[0]
    found = own_address(f"{ip}:29400")
    assert (found.ip, found.interface, found.is_rendezvous) == (ip, name, True)


def test_a_name_that_is_never_known_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MachineError, match=r"hardware\.rendezvous: no-such-node\.invalid is not known here"):
        own_address("no-such-node.invalid:29400", patience=1.5)
    assert capsys.readouterr().out == "  waits for the name no-such-node.invalid to be known\n"


def test_a_name_that_stands_for_this_machine_alone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Debian writes the host's own name into /etc/hosts."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port, **_: [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.1.1", port))])
    with pytest.raises(MachineError, match=r"node-a is 127\.0\.1\.1 on this node, which no other node can reach"):
        own_address("node-a:29400")


@pytest.fixture
def free() -> Iterator[socket.socket]:
    """Bound, so that nobody else takes it, and not listening yet."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        yield made


def test_waits_until_the_rendezvous_listens(free: socket.socket, capsys: pytest.CaptureFixture[str]) -> None:
    later = threading.Thread(target=lambda: (time.sleep(0.5), free.listen()))
    later.start()
    wait_for_answer(f"127.0.0.1:{free.getsockname()[1]}", patience=30)
    later.join()
    assert capsys.readouterr().out.count("to answer: train has to run there") == 1


def test_a_rendezvous_that_never_answers_is_said(free: socket.socket) -> None:
    with pytest.raises(MachineError, match=r"the rendezvous 127\.0\.0\.1:\d+ does not answer: Connection refused"):
        wait_for_answer(f"127.0.0.1:{free.getsockname()[1]}", patience=1.2)
