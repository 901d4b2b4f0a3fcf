"""What the gateway follows: the files of serve, the keys, the certificate."""

import hashlib
import json
import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from entrypoint.run.gateway_keys import Key
from schemas.active import ACKNOWLEDGED, ACTIVE, CONTROL, HEALTH, Acknowledged, Active
from schemas.errors import MachineError

SILENT_SECONDS = 25
"""serve writes a sign of life every five."""

LOADING = Active(generation=0, state="loading", upstream=None)
"""Before serve has said anything."""


@dataclass(frozen=True)
class Certificate:
    """A user's own, for TLS."""

    chain: str
    key: str
    """Both PEM, as they were read."""

    digest: str
    """Of both."""


@dataclass(frozen=True)
class State:
    """Everything that may change while the gateway runs."""

    active: Active
    address: str | None
    """IP:PORT of the engine; None where nothing answers, or its name cannot be resolved."""

    control: str | None
    """The key that the engine accepts."""

    keys: tuple[Key, ...]
    certificate: Certificate | None
    silent: bool = False
    """serve has not said for a while that it is alive."""


@dataclass(frozen=True)
class Places:
    """Where the files are."""

    told: Path
    """The folder that serve and the gateway share."""

    secrets: Path
    """A user's folder: `keys`, and `tls.crt` with `tls.key` for TLS."""


def read_active(folder: Path) -> Active | None:
    """What serve says; None before it says anything. Raises ValueError for what it should never write."""
    try:
        return Active.model_validate_json((folder / ACTIVE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise ValueError(f"{folder / ACTIVE} is not what it should be: {error.errors()[0]['msg']}") from None


def read_control(folder: Path) -> str | None:
    """The key that serve's engines accept; None before serve has made it."""
    try:
        return (folder / CONTROL).read_text(encoding="ascii").strip() or None
    except FileNotFoundError:
        return None


def is_silent(folder: Path) -> bool:
    """Whether serve's sign of life is old; False where it gives none."""
    try:
        return time.time() - float(json.loads((folder / HEALTH).read_text(encoding="utf-8"))["at"]) > SILENT_SECONDS
    except (OSError, ValueError, KeyError, TypeError):
        return False


def resolve(upstream: str) -> str | None:
    """IP:PORT of HOST:PORT; None while no container of that name runs. nginx would resolve a name once, when it starts."""
    host, _, port = upstream.rpartition(":")
    try:
        address = socket.getaddrinfo(host, int(port), socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
    except OSError:
        return None
    return f"{address}:{port}"


def find_certificate(folder: Path) -> Certificate | None:
    """`tls.crt` and `tls.key`, or neither. Raises MachineError for one without the other and for two that do not fit."""
    paths = folder / "tls.crt", folder / "tls.key"
    there = [path for path in paths if path.exists()]
    if not there:
        return None
    if len(there) == 1:
        missing = next(path for path in paths if path not in there)
        raise MachineError(
            f"{there[0].name} is there and {missing.name} is not", "TLS takes both, in secrets/gateway; plain HTTP on this machine takes neither"
        )
    try:
        chain, key = (path.read_text(encoding="ascii") for path in paths)
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*paths, password=_no_password)
    except PermissionError:
        raise MachineError(
            "tls.crt or tls.key cannot be read by uid 10001", "chown root:10001 secrets/gateway/tls.* && chmod 0440 secrets/gateway/tls.*"
        ) from None
    except (ssl.SSLError, UnicodeDecodeError, ValueError) as error:
        raise MachineError(
            f"tls.crt and tls.key are no pair in PEM: {error}", "tls.crt holds the chain, its own certificate first; tls.key its key, without a password"
        ) from None
    return Certificate(chain, key, hashlib.sha256((chain + key).encode()).hexdigest())


def acknowledge(folder: Path, generation: int) -> None:
    """Tell serve that requests go where this generation says."""
    draft = folder / f".{ACKNOWLEDGED}"
    draft.write_text(Acknowledged(generation=generation).model_dump_json() + "\n", encoding="utf-8")
    draft.rename(folder / ACKNOWLEDGED)


def _no_password() -> str:
    """Instead of OpenSSL's question at the terminal."""
    raise ValueError("the key is encrypted")
