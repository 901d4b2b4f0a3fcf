"""What the gateway counts, for Prometheus: on a port of its own that is not published.

nginx sends one datagram a request; one that finds no room is lost rather than waited for.
"""

import http.server
import socket
import threading
from bisect import bisect_left
from collections import Counter
from pathlib import Path

PORT = 9100
SOCKET = "counts.sock"
FIELDS = 5
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Seconds."""


class Histogram:
    """Of seconds, by endpoint."""

    def __init__(self, name: str, help_text: str):
        self.name, self.help = name, help_text
        self.counts: Counter[tuple[str, int]] = Counter()
        self.sums: Counter[str] = Counter()

    def add(self, endpoint: str, seconds: float) -> None:
        """One request."""
        self.counts[endpoint, bisect_left(BUCKETS, seconds)] += 1
        self.sums[endpoint] += seconds  # type: ignore[assignment]

    def lines(self) -> list[str]:
        """In the text format."""
        found = [f"# HELP {self.name} {self.help}", f"# TYPE {self.name} histogram"]
        for endpoint in sorted(self.sums):
            total = 0
            for at, bound in enumerate((*map(str, BUCKETS), "+Inf")):
                total += self.counts[endpoint, at]
                found.append(f'{self.name}_bucket{{endpoint="{endpoint}",le="{bound}"}} {total}')
            found += [f'{self.name}_sum{{endpoint="{endpoint}"}} {self.sums[endpoint]:.3f}', f'{self.name}_count{{endpoint="{endpoint}"}} {total}']
        return found


class Metrics:
    """Counts since the gateway started."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.requests: Counter[tuple[str, str, str]] = Counter()
        self.whole = Histogram("caisson_gateway_request_seconds", "From the first byte of a request to the last of its answer.")
        self.first = Histogram("caisson_gateway_first_byte_seconds", "Until the engine began its answer.")
        self.ready, self.generation = 0, 0

    def add(self, message: str) -> None:
        """One datagram of nginx: endpoint, status, key, seconds, seconds to the first byte, after syslog's own words."""
        words = message.rstrip().split(" ")[-FIELDS:]
        if len(words) < FIELDS:
            return
        endpoint, status, key, seconds, first = words
        with self.lock:
            self.requests[endpoint, status, key.removeprefix("key=")] += 1
            self.whole.add(endpoint, float(seconds))
            if first.replace(".", "", 1).isdigit():
                self.first.add(endpoint, float(first))

    def text(self) -> str:
        """Everything, in Prometheus' text format."""
        with self.lock:
            lines = ["# HELP caisson_gateway_requests_total Requests that were answered.", "# TYPE caisson_gateway_requests_total counter"]
            lines += [
                f'caisson_gateway_requests_total{{endpoint="{endpoint}",status="{status}",key="{key}"}} {count}'
                for (endpoint, status, key), count in sorted(self.requests.items())
            ]
            lines += [*self.whole.lines(), *self.first.lines()]
            for name, value, meaning in (
                ("ready", self.ready, "Whether requests reach an engine."),
                ("generation", self.generation, "Of what serve said that requests follow."),
            ):
                lines += [f"# HELP caisson_gateway_{name} {meaning}", f"# TYPE caisson_gateway_{name} gauge", f"caisson_gateway_{name} {value}"]
        return "\n".join(lines) + "\n"

    def listen(self, folder: Path) -> None:
        """Count what nginx says on a socket in `folder`, and answer GET /metrics on PORT, in threads of their own."""
        folder.mkdir(mode=0o700, exist_ok=True)
        told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        (folder / SOCKET).unlink(missing_ok=True)  # of a process that was killed, where the folder outlived it
        told.bind(str(folder / SOCKET))
        threading.Thread(target=self._count, args=(told,), daemon=True).start()
        metrics = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                found = self.path == "/metrics"
                body = metrics.text().encode() if found else b"only /metrics is here\n"
                self.send_response(200 if found else 404)
                self.send_header("content-type", "text/plain; version=0.0.4; charset=utf-8" if found else "text/plain")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        server = http.server.ThreadingHTTPServer(("0.0.0.0", PORT), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def _count(self, told: socket.socket) -> None:
        while True:
            self.add(told.recv(4096).decode("utf-8", "replace"))
