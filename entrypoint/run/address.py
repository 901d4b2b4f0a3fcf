"""Which address and interface a node is reached by: those on its way to the rendezvous."""

import socket
import time
from dataclasses import dataclass

import psutil

from entrypoint.run.events import say
from schemas.errors import MachineError

POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Address:
    """Of this node."""

    ip: str
    interface: str
    is_rendezvous: bool
    """Whether the rendezvous is this node's own address."""


def own_address(rendezvous: str, patience: float = 60.0) -> Address:
    """Found from the route, not from the host's name: Debian resolves that to 127.0.1.1, which no other node reaches.

    A name may not be there yet: a container's goes with it. After `patience` seconds MachineError says so.
    """
    host, _, port = rendezvous.rpartition(":")
    family, there = _resolve(host.strip("[]"), int(port), patience)
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(there)  # sends nothing: the kernel only looks up the route
        except OSError as error:
            raise MachineError(f"no way to the rendezvous {rendezvous} from here: {error.strerror}", "see to the network between the nodes") from None
        ip = str(probe.getsockname()[0])
    if ip.startswith("127.") and host != "localhost" and not host.startswith("127."):
        raise MachineError(
            f"hardware.rendezvous: {host} is {there[0]} on this node, which no other node can reach",
            "write the address that the other nodes reach it by, or take the name out of this machine's /etc/hosts",
        )
    return Address(ip, _interface(ip), ip == there[0])


def _resolve(host: str, port: int, patience: float) -> tuple[socket.AddressFamily, tuple[str, int]]:
    end = time.monotonic() + patience
    said = False
    while True:
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
            return family, (str(address[0]), port)
        except socket.gaierror as error:
            if time.monotonic() >= end:
                raise MachineError(f"hardware.rendezvous: {host} is not known here: {error.strerror}", "write an address, or see to the name") from None
        if not said:
            say(f"  waits for the name {host} to be known")
            said = True
        time.sleep(POLL_SECONDS)


def _interface(ip: str) -> str:
    """The one that has this address."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(address.address.partition("%")[0] == ip for address in addresses):
            return str(name)
    raise MachineError(f"no interface has the address {ip}", "see to the network between the nodes")


def wait_for_answer(rendezvous: str, patience: float) -> None:
    """Until something listens there. Raises MachineError after `patience` seconds. In Python, where a signal is heard between two tries."""
    host, _, port = rendezvous.rpartition(":")
    end = time.monotonic() + patience
    said = False
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() >= end:
                raise MachineError(
                    f"the rendezvous {rendezvous} does not answer: {error.strerror or error}",
                    "start train on that node, and let the port through between the nodes: docs/nodes.md",
                ) from None
        if not said:
            say(f"  waits for {rendezvous} to answer: train has to run there, and the port to be let through")
            said = True
        time.sleep(POLL_SECONDS)
