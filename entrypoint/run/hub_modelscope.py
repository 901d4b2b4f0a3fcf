"""ModelScope, through modelscope_hub: what modelscope's snapshot_download calls."""

import os
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import TypeVar

from entrypoint.run.hub_shared import Kind, Listing, RemoteFile, by_hand, explain, matches, one_line, read_token
from schemas.errors import MachineError

T = TypeVar("T")

SETTINGS = {
    "MODELSCOPE_REPO_TREE_PAGE_MAX_ATTEMPTS": "2",  # 4 by default, with growing waits: too long where nothing answers
    "MODELSCOPE_DOWNLOAD_INTRA_CLOUD": "false",  # would ask an address that only the hub's own cloud has
    "MODELSCOPE_DOWNLOAD_TOTAL_TIMEOUT": "604800",  # seconds a file; one hour by default: a shard of 5 GB needs more than 1.4 MB/s
    "MODELSCOPE_LOG_LEVEL": "ERROR",
    "TQDM_DISABLE": "1",
}
"""Environment of the client, where the user has not set it; read when it is imported."""


class ModelScope:
    """A repository of ModelScope, or of the mirror that MODELSCOPE_ENDPOINT (or, older, MODELSCOPE_DOMAIN) names."""

    def __init__(self, source: str, repo: str, revision: str | None, kind: Kind):
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        from modelscope_hub import HubApi, HubConfig

        self.source, self.repo, self.revision, self.kind = source, repo, revision, kind
        self.token = read_token("ms_token")
        self.api = HubApi(HubConfig(token=self.token or ""))  # empty: no token that the environment or a login left behind
        self.stop = Event()

    def listing(self) -> Listing:
        files = self._call(lambda: self.api.list_repo_files(self.repo, self.kind, revision=self.revision))
        return Listing(None, tuple(RemoteFile(f.path, f.size, f.sha256) for f in files if f.type != "tree"))

    def get(self, file: RemoteFile, folder: Path, commit: str | None) -> None:
        """The client itself continues its `.incomplete` file and checks the hash before it renames."""
        if matches(folder / file.path, file):
            return
        self._call(
            lambda: self.api.download_file(
                self.repo,
                self.kind,
                file.path,
                revision=self.revision,
                local_dir=folder,
                cache_dir=folder / ".cache",
                expected_sha256=file.sha256,
                file_size=file.bytes,
            )
        )

    def _call(self, ask: Callable[[], T]) -> T:
        from modelscope_hub.errors import FileIntegrityError, HubError
        from requests import RequestException

        hand = by_hand(self.repo, self.kind, "MODELSCOPE_ENDPOINT")
        try:
            return ask()
        except FileIntegrityError as error:
            raise MachineError(f"{self.source}: {one_line(error, self.token)}", f"the way to the hub alters files: {hand}") from None
        except (HubError, RequestException, OSError) as error:
            raise explain(error, self.source, "ms_token", self.token, hand) from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise MachineError(f"{self.source}: what answers is not a hub ({type(error).__name__})", f"set MODELSCOPE_ENDPOINT to a hub, or {hand}") from None
