"""A stand-in for vLLM's package: an HTTP server that answers from the golden answers of the folder that it is given. Files in that folder
say what it does wrong: `dies` (while it loads), `other` (reads every prompt with one more token)."""

from pathlib import Path

PROGRAM = """
import http.server, json, os, signal, sys, threading, time
from pathlib import Path

model, port = (sys.argv[sys.argv.index(name) + 1] for name in ("--model", "--port"))
folder = Path(model)
if (folder / "dies").exists():
    sys.exit(9)
rows = json.loads((folder / "golden_answers.json").read_text())["prompts"]
extra = [9] if (folder / "other").exists() else []
asked = 0


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        global asked
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        path = self.path.partition("?")[0]
        said = {}
        if path in ("/health", "/metrics"):
            said = f'vllm:prompt_tokens_total{{a="b"}} {asked}\\n'
        elif path == "/v1/models":
            said = {"data": [{"id": "tiny", "max_model_len": 256}]}
        elif path == "/tokenize":
            said = {"tokens": [*extra, *next(row["prompt_ids"] for row in rows if row["messages"] == body["messages"])]}
        elif path == "/v1/completions":
            asked += 1
            row = next(row for row in rows if row["prompt_ids"] == body["prompt"])
            tops = [{"a": p, "b": p - 3} for p in row["logprobs"]]
            said = {"choices": [{"token_ids": row["answer_ids"], "logprobs": {"token_logprobs": row["logprobs"], "top_logprobs": tops}}]}
        elif path == "/v1/chat/completions":
            time.sleep(body.get("wait", 0))
            row = next(row for row in rows if row["messages"] == body["messages"])
            said = {"choices": [{"finish_reason": "stop"}], "usage": {"completion_tokens": len(row["answer_ids"])}}
        data = said.encode() if isinstance(said, str) else json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain" if isinstance(said, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False


server = Server(("127.0.0.1", int(port)), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever(0.05)
server.server_close()
"""


def install(folder: Path) -> str:
    """Write the package; returns what PYTHONPATH has to begin with."""
    package = folder / "vllm" / "entrypoints" / "openai"
    package.mkdir(parents=True)
    for place in (package, package.parent, package.parent.parent):
        (place / "__init__.py").touch()
    (package / "api_server.py").write_text(PROGRAM)
    return str(folder)
