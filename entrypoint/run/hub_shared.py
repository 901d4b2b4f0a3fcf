"""What both hubs share: listings, tokens, and the words for what goes wrong."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from schemas.errors import MachineError, UsageError

SECRETS = Path("/run/secrets")
"""Where Compose mounts secret files."""

Kind = Literal["model", "dataset"]


@dataclass(frozen=True)
class RemoteFile:
    """One file of a listing; `sha256` or `blob` (hash of the git blob) says what its content must be, where the hub knows."""

    path: str
    bytes: int
    sha256: str | None = None
    blob: str | None = None


@dataclass(frozen=True)
class Listing:
    """What a revision holds; `commit` is what it resolved to, None where the hub does not say."""

    commit: str | None
    files: tuple[RemoteFile, ...]


def read_token(name: str) -> str | None:
    """The token in the secret file of this name; None where there is none. Its text is in no error and no environment."""
    path = SECRETS / name
    try:
        token = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (PermissionError, IsADirectoryError, UnicodeDecodeError) as error:
        raise MachineError(f"{path} cannot be read ({type(error).__name__})", f"make it a text file that uid {os.getuid()} may read") from None
    if not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(f"{path} holds something that is not a token", "write the token alone into it, on one line")
    return token or None


def matches(path: Path, file: RemoteFile) -> bool:
    """Whether a file on the disk has the size and, where the hub knows one, the hash of the listing."""
    if not path.is_file() or path.stat().st_size != file.bytes:
        return False
    if not file.sha256 and not file.blob:
        return True
    digest = hashlib.sha256() if file.sha256 else hashlib.sha1(f"blob {file.bytes}\0".encode(), usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(2**20):
            digest.update(block)
    return digest.hexdigest() == (file.sha256 or file.blob)


def by_hand(repo: str, kind: Kind, switch: str) -> str:
    """The way without a hub, for the second half of a fix."""
    name = repo.partition("/")[2]
    place = f"write model.source: /models/{name}" if kind == "model" else f"write source: /data/{name}"
    return f"bring the folder by hand and {place}, or set {switch} to a mirror that this machine reaches"


def explain(error: Exception, source: str, secret: str, token: str | None, hand: str) -> Exception:
    """The error to show for a failed request; a fault of the disk is returned as it is."""
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None) or getattr(error, "status_code", None)
    if status == 404:
        return UsageError(f"{source}: the hub has no such repository or revision", "check the name and the revision on the hub's page")
    if status in (401, 403):
        place = SECRETS / secret
        if token:
            return MachineError(
                f"{source}: the hub answers {status}: the token in {place} is not valid or may not read this",
                "accept the terms on the repository's page, or put another token into that file",
            )
        return MachineError(
            f"{source}: the hub answers {status} without a token: private, gated, or not there",
            f"put a token that may read it into {place} (Compose secret {secret})",
        )
    if status:
        return MachineError(f"{source}: the hub answers {status}", f"try again later, or {hand}")
    if isinstance(error, OSError) and error.errno and not isinstance(error, ConnectionError | TimeoutError):
        return error
    return MachineError(f"{source}: the hub does not answer ({one_line(_first_cause(error), token)})", hand)


def _first_cause(error: BaseException) -> BaseException:
    """What the layers of a client were wrapped around, such as the failed look-up of a name."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return error


def one_line(error: BaseException, token: str | None) -> str:
    """Kind and text of an error, without line breaks and without the token."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return (text.replace(token, "...") if token else text)[:200]


def size_of(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    return path.stat().st_size if path.is_file() else 0
