"""A small server that speaks as much of the APIs of the Hugging Face Hub and of ModelScope as their clients ask for."""

import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Asked:
    """One request as it arrived."""

    path: str
    authorization: str | None
    range: str | None


@dataclass
class Repository:
    """Files of one repository, and how it behaves."""

    files: dict[str, bytes]
    revisions: tuple[str, ...] = ("main", "master", COMMIT)
    token: str | None = None
    large: tuple[str, ...] = ()
    """Stored the way that large files are: listed with a sha256."""

    drops: dict[str, int] = field(default_factory=dict)
    """Connections that are cut after this many bytes, once a file."""

    altered: dict[str, bytes] = field(default_factory=dict)
    """What is sent instead of what is listed."""

    slow: float = 0.0
    """Seconds between two pieces of 64 KiB."""


class HubServer:
    """Listens on a free port of loopback while the block runs."""

    def __init__(self, repositories: dict[str, Repository]):
        self.repositories, self.asked = repositories, []
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def fetched(self, name):
        """Requests for the content of a file."""
        return [a for a in self.asked if ("/resolve/" in a.path and a.path.endswith("/" + name)) or f"FilePath={name}" in a.path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.hub.asked.append(Asked(unquote(self.path), self.headers.get("Authorization"), self.headers.get("Range")))
        url = urlsplit(self.path)
        parts = unquote(url.path).strip("/").split("/")
        query = {k: v[0] for k, v in parse_qs(url.query).items()}
        if parts[:2] == ["api", "v1"]:
            return self._modelscope(parts[2:], query)
        return self._huggingface_api(parts[1:]) if parts[0] == "api" else self._huggingface_file(parts)

    def _huggingface_api(self, parts):
        kind, name, rest = parts[0], "/".join(parts[1:3]), parts[3:]
        repository = self._allowed(f"{kind}/{name}", "X-Error-Code", "RepoNotFound")
        if not repository:
            return None
        if rest[:1] == ["revision"] and rest[1] not in repository.revisions:
            return self._json({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
        if rest[:1] == ["tree"]:
            return self._json([self._tree_entry(repository, path) for path in repository.files])
        return self._json({"id": name, "sha": COMMIT, "siblings": [{"rfilename": p} for p in repository.files]})

    @staticmethod
    def _tree_entry(repository, path):
        content = repository.files[path]
        blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
        entry = {"type": "file", "path": path, "size": len(content), "oid": blob}
        if path in repository.large:
            entry |= {"oid": "f" * 40, "lfs": {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}}
        return entry

    def _huggingface_file(self, parts):
        kind = parts.pop(0) if parts[0] == "datasets" else "models"
        repository = self._allowed(f"{kind}/{'/'.join(parts[:2])}", "X-Error-Code", "RepoNotFound")
        if repository:
            self._file(repository, "/".join(parts[4:]))

    def _modelscope(self, parts, query):
        kind, name, rest = parts[0], "/".join(parts[1:3]), parts[3:]
        repository = self._allowed(f"{kind}/{name}")
        if not repository:
            return None
        if query.get("Revision", "master") not in repository.revisions:
            return self._json({"Code": 404, "Message": "no such revision", "Success": False}, 404)
        if rest in (["repo", "files"], ["repo", "tree"]):
            files = [{"Path": p, "Name": p, "Size": len(c), "Sha256": hashlib.sha256(c).hexdigest(), "Type": "blob"} for p, c in repository.files.items()]
            return self._json({"Code": 200, "Data": {"Files": files}, "Success": True})
        return self._file(repository, query["FilePath"])

    def _allowed(self, name, header=None, code=None):
        """The repository, or None after the refusal was sent."""
        repository = self.hub.repositories.get(name)
        if not repository:
            self._json({"Code": 404, "Message": "not found", "Success": False}, 404, {header: code} if header else {})
        elif repository.token and self.headers.get("Authorization") != f"Bearer {repository.token}":
            self._json({"Code": 401, "Message": "who are you", "Success": False}, 401)
            return None
        return repository

    def _json(self, content, status=200, headers=None):
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _file(self, repository, path):
        content = repository.altered.get(path, repository.files[path])
        start = int(self.headers["Range"].removeprefix("bytes=").split("-")[0]) if self.headers.get("Range") else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        body = content[start:]
        drop = repository.drops.pop(path, None)
        for at in range(0, len(body), 65536):
            if drop is not None and at >= drop:
                self.wfile.flush()
                self.close_connection = True
                return
            try:
                self.wfile.write(body[at : at + 65536])
            except OSError:
                return
            time.sleep(repository.slow)
