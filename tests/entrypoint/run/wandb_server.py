"""As much of a wandb server as its client needs to begin a run, stream rows and go on with it: it keeps them in memory."""

import gzip
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VIEWER = {"id": "u", "entity": "me", "username": "me", "email": "me@example", "admin": False, "flags": "{}", "apiKeys": {"edges": []}, "teams": {"edges": []}}
PROJECT = {"id": "p", "name": "tiny", "entity": {"id": "e", "name": "me"}}


class Runs:
    """What the server has been sent."""

    def __init__(self):
        self.rows: dict[int, str] = {}
        self.names: set[str] = set()
        self.config, self.summary = "{}", "{}"
        self.keys: set[str | None] = set()

    def history(self):
        """Rows in order."""
        return [json.loads(self.rows[at]) for at in sorted(self.rows)]

    def answer(self, name, text, given):
        """Data of one GraphQL request."""
        if name == "RunResumeStatus":
            return {"model": {**PROJECT, "bucket": self._bucket(given["name"]) if given["name"] in self.names else None}}
        if name == "UpsertBucket":
            self.names.add(given["name"])
            self.config = given.get("config") or self.config
            return {"upsertBucket": {"bucket": {**self._bucket(given["name"]), "sweepName": None, "project": PROJECT}, "inserted": True}}
        if name == "CreateRunFiles":
            return {"createRunFiles": {"runID": "x", "uploadHeaders": [], "files": []}}
        if "serverInfo" in text:
            return {"serverInfo": {"cliVersionInfo": {"max_cli_version": "99.0.0"}, "latestLocalVersionInfo": None}, "viewer": VIEWER}
        return {"viewer": VIEWER}

    def _bucket(self, name):
        last = [self.rows[at] for at in sorted(self.rows)][-1:]
        return {
            "id": "x", "name": name, "displayName": name, "description": None, "notes": None, "tags": [], "config": self.config, "summaryMetrics": self.summary,
            "historyLineCount": len(self.rows), "eventsLineCount": 0, "logLineCount": 0, "historyTail": json.dumps(last), "eventsTail": "[]",
            "wandbConfig": json.dumps({"t": {"1": [5]}}),
        }  # fmt: skip

    def stream(self, files):
        """Rows and the summary as the client sends them, each with the line at which it starts."""
        history = files.get("wandb-history.jsonl", {"offset": 0, "content": []})
        self.rows |= {history["offset"] + at: line for at, line in enumerate(history["content"])}
        if "wandb-summary.json" in files:
            self.summary = files["wandb-summary.json"]["content"][-1]


@contextmanager
def serve():
    """The server's address and what it has."""
    runs = Runs()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            runs.keys.add(self.headers["Authorization"])
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked = json.loads(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            said = {}
            if self.path.startswith("/graphql"):
                found = re.search(r"(?:query|mutation)\s+(\w+)", asked["query"])
                said = {"data": runs.answer(found[1] if found else "", asked["query"], asked.get("variables") or {})}
            elif "file_stream" in self.path:
                runs.stream(asked.get("files") or {})
            self.reply(json.dumps(said).encode())

        def do_GET(self):
            self.reply(b"{}")

        def reply(self, content):
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", runs
        server.shutdown()
