"""The Hugging Face Hub, through parts of huggingface_hub.

Its snapshot_download is not used whole: it throws a draft away when its process dies, and compares sizes, not hashes.
"""

import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from entrypoint.run.hub_shared import Kind, Listing, RemoteFile, by_hand, explain, matches, read_token, size_of
from schemas.errors import CaissonError, MachineError, UsageError

LISTING_SECONDS = 10.0
"""Wait for an answer about a repository."""

T = TypeVar("T")


class HuggingFace:
    """A repository of the Hugging Face Hub, or of the mirror that HF_ENDPOINT names."""

    def __init__(self, source: str, repo: str, revision: str | None, kind: Kind):
        # The images switch the client off; fetch is the one stage that may call out. Read by the client when it is imported.
        os.environ.update(HF_HUB_OFFLINE="0", HF_HUB_DISABLE_PROGRESS_BARS="1", HF_HUB_DISABLE_TELEMETRY="1")
        from huggingface_hub import HfApi

        self.source, self.repo, self.revision, self.kind = source, repo, revision, kind
        self.token = read_token("hf_token")
        self.api = HfApi(token=self.token or False)  # False: no token that the environment or a login left behind
        self.stop = threading.Event()

    def listing(self) -> Listing:
        def ask() -> Listing:
            info = self.api.repo_info(self.repo, revision=self.revision, repo_type=self.kind, timeout=LISTING_SECONDS)
            tree = self.api.list_repo_tree(self.repo, recursive=True, revision=info.sha, repo_type=self.kind)
            return Listing(info.sha, tuple(RemoteFile(f.path, f.size, f.lfs.sha256 if f.lfs else None, f.blob_id) for f in tree if hasattr(f, "size")))

        return self._call(ask, listing=True)

    def get(self, file: RemoteFile, folder: Path, commit: str | None) -> None:
        target = folder / file.path
        if matches(target, file):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.{(file.sha256 or file.blob or '')[:16]}.draft")
        for last in (False, True):  # a draft that another content got into is thrown away once
            self._call(lambda: self._grow(draft, file, commit))
            if matches(draft, file):
                draft.replace(target)
                return
            draft.unlink()
            if last:
                raise MachineError(
                    f"{self.source}: {file.path} arrived twice with another content than the hub lists", "the way to the hub alters files: " + self._by_hand()
                )

    def _grow(self, draft: Path, file: RemoteFile, commit: str | None) -> None:
        """Append what is missing; goes on as long as each attempt brings bytes."""
        from huggingface_hub import hf_hub_url
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers

        url = hf_hub_url(self.repo, file.path, repo_type=self.kind, revision=commit, endpoint=self.api.endpoint)
        # Ranges count bytes as they are stored, not as they are compressed.
        headers = {**build_hf_headers(token=self.token or False), "Accept-Encoding": "identity"}
        while True:
            size = size_of(draft)
            if size > file.bytes:
                draft.unlink()
                size = 0
            try:
                with _Draft(draft, self.stop) as stream:
                    http_get(url, stream, resume_size=size, headers=headers, expected_size=file.bytes)
                return
            except _transport_error():
                if size_of(draft) <= size:
                    raise

    def _call(self, ask: Callable[[], T], *, listing: bool = False) -> T:
        from huggingface_hub.errors import HFValidationError, RevisionNotFoundError

        try:
            return ask()
        except (CaissonError, _Stopped):
            raise
        except RevisionNotFoundError:
            raise UsageError(
                f"{self.source}: the repository has no revision {self.revision!r}", f"write a branch, tag or commit that it has, or hf://{self.repo}"
            ) from None
        except HFValidationError as error:
            raise UsageError(f"{self.source} is not a name that the hub can have: {error}", "write hf://ORG/NAME or hf://ORG/NAME@REVISION") from None
        except (_transport_error(), OSError) as error:
            raise explain(error, self.source, "hf_token", self.token, self._by_hand()) from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if listing:  # a proxy's page, or another service at this address
                raise MachineError(
                    f"{self.source}: what answers at {self.api.endpoint} is not a hub ({type(error).__name__})",
                    f"set HF_ENDPOINT to a hub, or {self._by_hand()}",
                ) from None
            raise

    def _by_hand(self) -> str:
        return by_hand(self.repo, self.kind, "HF_ENDPOINT")


class _Stopped(Exception):
    """Another file has failed."""


class _Draft(io.FileIO):
    """A file that is appended to until something else fails."""

    def __init__(self, path: Path, stop: threading.Event):
        super().__init__(path, "ab")
        self.stop = stop

    def write(self, data: Any, /) -> int:
        if self.stop.is_set():
            raise _Stopped
        return super().write(data)


def _transport_error() -> type[Exception]:
    """The base of every error of the HTTP library below huggingface_hub: httpx in its version 1, httpx2 in its version 2."""
    from huggingface_hub.errors import HfHubHTTPError

    found: type[Exception] = next(base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError")
    return found
