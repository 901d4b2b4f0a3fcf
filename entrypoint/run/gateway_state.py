"""What the gateway follows: the files of serve, the keys, the certificate. One look a second."""

import hashlib
import socket
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from entrypoint.run.gateway_interim import ask_serve
from entrypoint.run.gateway_keys import Key, read_keys
from schemas.active import ACKNOWLEDGED, ACTIVE, CONTROL, Acknowledged, Active
from schemas.errors import MachineError

LOADING = Active(generation=0, state="loading", upstream=None)
"""Before serve has said anything."""


@dataclass(frozen=True)
class Certificate:
    """A user's own, for TLS."""

    chain: Path
    key: Path
    digest: str
    """Of both files: nginx reads them only when it is told to."""


@dataclass(frozen=True)
class State:
    """Everything that nginx's configuration depends on and that may change."""

    active: Active
    address: str | None
    """IP:PORT of the engine; None where nothing answers, or its name cannot be resolved."""

    control: str | None
    keys: tuple[Key, ...]
    certificate: Certificate | None


@dataclass(frozen=True)
class Places:
    """Where the files are."""

    told: Path
    """The folder that serve and the gateway share."""

    secrets: Path
    """A user's folder: `keys`, and `tls.crt` with `tls.key` for TLS."""


def look(places: Places) -> State:
    """The present state. Raises MachineError for keys or a certificate that cannot be used, ValueError for what serve should never write."""
    certificate = find_certificate(places.secrets)
    keys = read_keys(places.secrets / "keys")
    try:
        active = Active.model_validate_json((places.told / ACTIVE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        active = ask_serve() or LOADING
    except ValidationError as error:
        raise ValueError(f"{places.told / ACTIVE} is not what it should be: {error.errors()[0]['msg']}") from None
    try:
        control = (places.told / CONTROL).read_text(encoding="ascii").strip() or None
    except FileNotFoundError:
        control = None
    return State(active, resolve(active.upstream) if active.upstream else None, control, keys, certificate)


def resolve(upstream: str) -> str | None:
    """IP:PORT of HOST:PORT; None while no container of that name runs. nginx would resolve a name once, when it starts."""
    host, _, port = upstream.rpartition(":")
    try:
        address = socket.getaddrinfo(host, int(port), socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
    except OSError:
        return None
    return f"{address}:{port}"


def find_certificate(folder: Path) -> Certificate | None:
    """`tls.crt` and `tls.key`, or neither."""
    chain, key = folder / "tls.crt", folder / "tls.key"
    there = [path for path in (chain, key) if path.exists()]
    if not there:
        return None
    if len(there) == 1:
        missing = key if there == [chain] else chain
        raise MachineError(
            f"{there[0].name} is there and {missing.name} is not", "TLS takes both, in secrets/gateway; plain HTTP on this machine takes neither"
        )
    try:
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in there)).hexdigest()
    except PermissionError:
        raise MachineError(
            "tls.crt or tls.key cannot be read by uid 10001", "chown root:10001 secrets/gateway/tls.* && chmod 0440 secrets/gateway/tls.*"
        ) from None
    return Certificate(chain, key, digest)


def acknowledge(folder: Path, generation: int) -> None:
    """Tell serve that requests go where this generation says."""
    draft = folder / f".{ACKNOWLEDGED}"
    draft.write_text(Acknowledged(generation=generation).model_dump_json() + "\n", encoding="utf-8")
    draft.rename(folder / ACKNOWLEDGED)
