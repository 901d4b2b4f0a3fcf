"""Content in parts of a bounded size, each written whole or not at all."""

import hashlib
import os
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from schemas.errors import MachineError

CHUNK = 1 << 20


@dataclass(frozen=True)
class Part:
    """A file of the bundle: where it is from the bundle's root, its bytes and their sha256."""

    name: str
    bytes: int
    sha256: str


class Parts:
    """The folder `parts` of a bundle. `size` is the most bytes that one part may have."""

    def __init__(self, bundle: Path, size: int):
        self.bundle, self.size, self.known = bundle, size, dict[str, Part]()

    def find(self, key: str) -> list[Part]:
        """The parts that an earlier, interrupted run wrote under this key and this size; none is an empty list."""
        paths = sorted(self._folder(key).glob("[0-9]*"))
        return [self.known.setdefault(part.name, part) for part in map(self._read, paths)]

    def write(self, key: str, content: Iterable[bytes]) -> list[Part]:
        """Content under a key. Every part is in place afterwards, or none is."""
        done, folder = self._folder(key), self._folder(key + ".unfinished")
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.iterdir():
            left.unlink()
        number, room = 0, self.size
        out = (folder / "000000").open("wb")
        try:
            for chunk in content:
                rest = chunk
                while rest:
                    if not room:
                        _close(out)
                        number, room = number + 1, self.size
                        out = (folder / f"{number:06}").open("wb")
                    piece, rest = rest[:room], rest[room:]
                    out.write(piece)
                    room -= len(piece)
        finally:
            _close(out)
        folder.rename(done)
        return self.find(key)

    def _folder(self, key: str) -> Path:
        return self.bundle / "parts" / f"{key}-{self.size}"

    def _read(self, path: Path) -> Part:
        return Part(str(path.relative_to(self.bundle)), path.stat().st_size, sum_of(path))


def _close(out: IO[bytes]) -> None:
    out.flush()
    os.fsync(out.fileno())
    out.close()


def read(path: Path) -> Iterator[bytes]:
    """A file's bytes, chunk by chunk."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def sum_of(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def squeeze(content: Iterable[bytes], spool: Path) -> Iterator[bytes]:
    """Content as one zstd frame; frames one after the other are one stream for `docker load`. Raises MachineError where there is no zstd."""
    try:
        with spool.open("wb") as out:
            zstd = subprocess.Popen(["zstd", "-q", "-3", "-T1", "-c"], stdin=subprocess.PIPE, stdout=out)
            assert zstd.stdin
            for chunk in content:
                zstd.stdin.write(chunk)
            zstd.stdin.close()
            if zstd.wait():
                raise MachineError(f"zstd ended with {zstd.returncode}", "see what it printed above; most often the disk is full")
        yield from read(spool)
    except FileNotFoundError as error:
        raise MachineError(f"{error.filename} is not there", "install zstd; only the machine that makes a bundle needs it") from None
    finally:
        spool.unlink(missing_ok=True)
