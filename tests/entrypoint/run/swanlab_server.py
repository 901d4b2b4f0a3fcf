"""As much of a SwanLab server as its client needs to begin an experiment, send scalars and go on with it: it keeps them in memory."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOGIN = {"sid": "s", "expiredAt": "2099-01-01T00:00:00.000Z", "userInfo": {"username": "me"}}
PROJECT = {"cuid": "p", "name": "tiny", "path": "/@me/tiny", "username": "me", "group": {"username": "me"}, "_count": {"experiments": 0}, "version": 2}


class Experiments:
    """What the server has been sent."""

    def __init__(self):
        self.points: list[tuple[str, int, float]] = []
        self.names: list[str] = []
        self.profile: dict = {}
        self.states: list[str] = []
        self.away = False

    def answer(self, method, path, given):
        """Status and content for one request."""
        if self.away:
            return 503, {}
        if path == "/api/login/api_key":
            return 200, LOGIN
        if path.endswith("/experiment"):
            new = given["cuid"] not in self.names
            self.names.append(given["cuid"])
            return 201 if new else 200, {"cuid": given["cuid"], "slug": given["cuid"], "name": given["name"], "createdAt": "2026-01-01T00:00:00.000Z"}
        if "/metrics/summaries/" in path:
            last = {}
            for key, step, _ in self.points:
                last[key] = max(step, last.get(key, -1))
            return 200, {"log": [], "media": [], "scalar": [{"key": key, "step": step} for key, step in last.items()]}
        if path == "/api/house/metrics" and given["type"] == "scalar":
            self.points += [(point["key"], point["index"], point["data"]) for point in given["metrics"]]
        elif path.endswith("/profile"):
            self.profile |= given
        elif method == "PUT" and "state" in given:
            self.states.append(given["state"])
        return 200, PROJECT if method == "GET" else {}

    def steps(self, key):
        """Steps of one curve, in the order of their arrival."""
        return [step for name, step, _ in self.points if name == key]


@contextmanager
def serve():
    """The server's address and what it has."""
    kept = Experiments()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, said = kept.answer(self.command, self.path.partition("?")[0], json.loads(body) if body else {})
            content = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", kept
        server.shutdown()
