"""Text files that the command line is given, read without trust: what is no file, has no end or is not UTF-8 is refused in words."""

import errno
import stat
from pathlib import Path

from schemas.errors import UsageError

LIMIT = 2**20
"""Bytes. Specs have some kilobytes, facts with thousands of files some hundred."""

HANDED_OVER = ("/dev/fd/", "/proc/self/fd/", "/dev/stdin")
"""Names of what another program hands over, as bash does for <(command): pipes that end."""

KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
"""What is no regular file; opening one may wait for ever, reading one may never end."""

NOT_ITSELF = {errno.ELOOP: "is a link that leads back to itself", errno.ENAMETOOLONG: "has too long a name", errno.ENOTDIR: "lies below a file"}


def read_document(path: Path, what: str, missing: str) -> str:
    """The text of a file; `what` names its kind, `missing` is the fix where it is not there. Raises UsageError."""
    fix = f"name the {what}"
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
        if kind in KINDS and (kind == stat.S_IFDIR or not str(path).startswith(HANDED_OVER)):
            raise UsageError(f"{path} is {KINDS[kind]}", fix)
        with path.open("rb") as stream:
            content = stream.read(LIMIT + 1)
        if len(content) > LIMIT:
            raise UsageError(f"{path} has more than {LIMIT // 2**20} MiB, which no {what} has", fix)
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"{path} is not there", missing) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}", "save the file as UTF-8") from None
    except OSError as error:
        if error.errno in NOT_ITSELF:
            raise UsageError(f"{path} {NOT_ITSELF[error.errno]}", fix) from None
        raise UsageError(f"{path} cannot be read: {error.strerror}", "check its permissions") from None
