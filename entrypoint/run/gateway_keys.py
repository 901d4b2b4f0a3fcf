"""The file of API keys: whose they are, and a table in which nginx finds them.

A line is a key or its hash, then perhaps a name: `sha256:HEX alice`. A plain SHA-256 is enough, since a key is 32 random bytes that nobody
can guess from it; slow hashes protect passwords that people made up. Lines that begin with # are comments.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import MachineError

HASHED = re.compile(r"sha256:([0-9a-f]{64})")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SHORTEST = 16
"""Letters of a key that stands in the file as it is. Nobody should guess one."""


@dataclass(frozen=True)
class Key:
    """One key that is let in."""

    name: str
    hash: str
    """SHA-256 of the key, hexadecimal."""


def read_keys(file: Path) -> tuple[Key, ...]:
    """Every key of the file; raises MachineError for one that is absent, unreadable, empty or malformed."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise MachineError(f"no API keys: {file} is not there", "`make key` writes secrets/gateway/keys; Compose mounts that folder") from None
    except IsADirectoryError:
        raise MachineError(f"the file of API keys {file} is a folder", "remove secrets/gateway/keys, then `make key`") from None
    except PermissionError:
        raise MachineError(f"{file} cannot be read by uid 10001", "chown -R root:10001 secrets/gateway && chmod 0750 secrets/gateway") from None
    except UnicodeDecodeError:
        raise MachineError(f"{file} is not text", "put one key on a line, or let `make key` write it") from None
    keys = [_read_line(line.strip(), number, file) for number, line in enumerate(text.splitlines(), 1) if line.strip() and not line.lstrip().startswith("#")]
    if not keys:
        raise MachineError(f"{file} holds no key", "bash setup/key.sh add NAME")
    if repeated := {key.name for key in keys if sum(other.name == key.name for other in keys) > 1}:
        raise MachineError(f"{file} gives the name {min(repeated)} to two keys", "the log tells keys apart by their names: give each its own")
    return tuple(keys)


def table(keys: tuple[Key, ...], salt: str) -> dict[str, str]:
    """Name by the HMAC of each key's hash: what nginx looks up, so that the time of a look-up tells nothing about a hash."""
    return {hmac.new(salt.encode(), key.hash.encode(), hashlib.sha256).hexdigest(): key.name for key in keys}


def _read_line(line: str, number: int, file: Path) -> Key:
    """Never repeats the line in an error: it may hold a key."""
    secret, _, name = line.partition(" ")
    name = name.strip()
    if hashed := HASHED.fullmatch(secret):
        digest = hashed[1]
    elif secret.startswith("sha256:"):
        raise MachineError(f"{file}:{number}: what follows sha256: is not 64 hexadecimal digits", "bash setup/key.sh add NAME writes such lines")
    elif len(secret) < SHORTEST or not re.fullmatch(r"[!-~]+", secret):
        raise MachineError(f"{file}:{number}: a key has at least {SHORTEST} visible ASCII letters", "bash setup/key.sh add NAME makes one of 32 random bytes")
    else:
        digest = hashlib.sha256(secret.encode()).hexdigest()
    if name and not NAME.fullmatch(name):
        raise MachineError(f"{file}:{number}: a name has up to 64 letters, digits, dots, dashes and underscores", "write KEY NAME, with one blank between")
    return Key(name or f"key-{digest[:8]}", digest)
