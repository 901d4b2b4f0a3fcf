"""Two small HTTP servers in the place of engines: say what reached them, stream slowly, fail when told to. `python upstream.py NAME`.

NAME answers on port 8001, NAME-2 on port 8002, as the engines of one server do during a handover.

Standard library only: it runs in the gateway's image.
"""

import http.server
import json
import sys
import threading
import time

SEEN: list[str] = []
"""What happened, for GET /seen."""


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as the body asks: {"stream": N, "every": SECONDS}, {"status": CODE}, {"sleep": SECONDS}, or else with what reached it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    server: "Server"

    def log_message(self, *_: object) -> None:
        """No log."""

    def do_GET(self) -> None:
        """A list of models, health, and what was seen."""
        if self.path == "/seen":
            self.send_json(200, {"seen": SEEN})
        elif self.path == "/v1/models":
            self.send_json(200, {"object": "list", "data": [{"id": "m", "object": "model"}, {"id": "team/m", "object": "model"}], "engine": self.server.engine})
        else:
            self.send_json(200 if self.path == "/health" else 404, {"path": self.path})

    def do_POST(self) -> None:
        """As the body asks."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        asked = json.loads(body) if body.startswith(b"{") else {}
        if "stream" in asked:
            self.stream(asked["stream"], asked["every"])
            return
        time.sleep(asked.get("sleep", 0))
        told = {"engine": self.server.engine, "path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}, "bytes": len(body)}
        self.send_json(asked.get("status", 200), {"error": {"message": "the engine's own"}} if "status" in asked else told)

    def stream(self, count: int, every: float) -> None:
        """Server-sent events, in chunks."""
        self.send_response(200)
        for name, value in (("content-type", "text/event-stream"), ("transfer-encoding", "chunked"), ("x-request-id", "the engine's")):
            self.send_header(name, value)
        self.end_headers()
        try:
            for at in range(count):
                event = f"data: {self.server.engine} {at}\n\n".encode()
                self.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
                time.sleep(every)
            self.wfile.write(b"0\r\n\r\n")
            SEEN.append("finished")
        except OSError:
            SEEN.append("cancelled")
            self.close_connection = True

    def send_json(self, status: int, document: object) -> None:
        """One document."""
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    """With room for many at once."""

    request_queue_size = 512
    daemon_threads = True

    def __init__(self, engine: str, port: int):
        super().__init__(("0.0.0.0", port), Handler)
        self.engine = engine
        threading.Thread(target=self.serve_forever).start()


if __name__ == "__main__":
    servers = [Server(sys.argv[1], 8001), Server(f"{sys.argv[1]}-2", 8002)]
    print(f"{sys.argv[1]} listens", flush=True)
