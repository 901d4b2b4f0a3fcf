"""Files from the Hugging Face Hub and from ModelScope, through their own clients, over plain HTTP.

The client lists a revision; each file then grows under a draft name, is checked against the hash of the listing, and only then gets its name.
A draft is continued where it ends, by the next process too.
"""

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path, PurePosixPath
from typing import Protocol

from entrypoint.run.events import Events
from entrypoint.run.hub_huggingface import HuggingFace
from entrypoint.run.hub_modelscope import ModelScope
from entrypoint.run.hub_shared import Kind, Listing, RemoteFile
from entrypoint.run.transfer import Progress, check_room, folder_bytes
from schemas.errors import GateRefused

WORKERS = 4
"""Files at once: one stream rarely fills a line, more make every draft take longer to become a file that a restart can keep."""


class Hub(Protocol):
    """One repository at one revision."""

    source: str
    stop: threading.Event

    def listing(self) -> Listing:
        """Every file. Raises UsageError for what is not there, MachineError for what does not answer."""

    def get(self, file: RemoteFile, folder: Path, commit: str | None) -> None:
        """Bring one file; nothing is under its final name before it is whole."""


def open_hub(source: str, kind: Kind) -> Hub:
    """The repository that a source names."""
    scheme, _, rest = source.partition("://")
    repo, _, revision = rest.partition("@")
    return (HuggingFace if scheme == "hf" else ModelScope)(source, repo, revision or None, kind)


def list_files(hub: Hub) -> Listing:
    """What the repository holds. Raises GateRefused where one path would be written outside of the folder, wanted or not."""
    listing = hub.listing()
    for file in listing.files:
        path = PurePosixPath(file.path)
        if not file.path.isprintable() or "\\" in file.path or path.is_absolute() or ".." in path.parts or path.as_posix() != file.path:
            raise GateRefused(f"{hub.source}: the hub lists {file.path!r}, a path that leaves the folder", "do not use this repository")
    return listing


def download(hub: Hub, commit: str | None, files: Iterable[RemoteFile], folder: Path, events: Events) -> None:
    """Bring these files into `folder`, several at once; the first error stops the others."""
    files = tuple(files)
    total = sum(f.bytes for f in files)
    others = _other_bytes(folder, {f.path for f in files})
    check_room(folder, total - (folder_bytes(folder) - others), hub.source)
    with Progress(hub.source, total, lambda: folder_bytes(folder) - others, events), ThreadPoolExecutor(WORKERS) as pool:
        running = [pool.submit(hub.get, file, folder, commit) for file in files]
        try:
            for done in as_completed(running):
                done.result()
        except BaseException:
            hub.stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def _other_bytes(folder: Path, paths: set[str]) -> int:
    """Bytes of files that are neither among `paths` nor on the way to one."""
    drafts = (".draft", ".incomplete")
    files = (p for p in folder.rglob("*") if p.is_file() and p.suffix not in drafts)
    return sum(p.stat().st_size for p in files if p.relative_to(folder).as_posix() not in paths)
