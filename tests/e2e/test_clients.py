"""Clients that nobody here wrote, through the gateway, with the real engine behind it: one start of the chain for all of them.

They speak of forms, not of sense: the model is that of specs/cpu-smoke.yaml.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from environments import CLIENTS, node, node_with_openai, python_with
from project import ROOT, Project

from schemas.serve import Serve

pytestmark = [pytest.mark.clients, pytest.mark.timeout(2400), pytest.mark.skipif(not shutil.which("docker"), reason="needs Docker")]

MODEL = "cpu-smoke"
HAS_TOOLS = "tool_parser" in Serve.model_fields
CHUNKS = ("models", "chat", "streaming", "completions", "responses", "structured", "logprobs", "embeddings", "errors")


class Served:
    """The running server, as a client's user knows it."""

    def __init__(self, project: Project, key: str):
        self.project, self.key = project, key
        self.url = f"http://127.0.0.1:{project.port}"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": "/tmp",
            "OPENAI_BASE_URL": f"{self.url}/v1",
            "OPENAI_API_KEY": key,
            "MODEL": MODEL,
            "no_proxy": "*",
        }

    def run(self, *argv: str | Path, code: int | None = 0, **more: str) -> str:
        """A client's program; both streams."""
        done = subprocess.run(argv, env={**self.environment, **more}, capture_output=True, text=True, check=False)
        assert code is None or done.returncode == code, f"{argv}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def status(self, path: str = "/health/deep") -> int:
        """Of a request without a key; 0 where nobody listens."""
        try:
            return httpx.get(self.url + path, trust_env=False, timeout=20).status_code
        except httpx.TransportError:
            return 0

    def wait_until_ready(self, seconds: float = 900) -> None:
        """Until an engine answers."""
        end = time.monotonic() + seconds
        while self.status() != 200:
            assert time.monotonic() < end, self.project.compose("logs", "--tail", "60", "serve", "gateway")
            time.sleep(1)

    def container(self, service: str) -> str:
        """Its id, running or not."""
        return self.project.compose("ps", "--all", "--quiet", service).strip()

    def state(self, service: str) -> dict[str, Any]:
        """Docker's, of its container."""
        return dict(json.loads(self.project.run("docker", "inspect", self.container(service)))[0]["State"])

    def requests(self) -> list[dict[str, Any]]:
        """The gateway's access log."""
        return [json.loads(line) for line in self.project.run("docker", "logs", self.container("gateway")).splitlines() if line.startswith('{"at"')]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`docker compose up serve` with nothing there yet."""
    text = (ROOT / "specs/cpu-smoke.yaml").read_text(encoding="utf-8")
    assert "max_length: 512" in text
    spec = tmp_path_factory.mktemp("clients") / "spec.yaml"
    spec.write_text(text.replace("max_length: 512", "max_length: 512\n  tool_parser: hermes" if HAS_TOOLS else "max_length: 512"), encoding="utf-8")
    project = Project("clients", str(spec))
    try:
        project.compose("up", "--detach", "serve")
        made = Served(project, (ROOT / "secrets/api_key").read_text(encoding="utf-8").strip())
        made.wait_until_ready()
        yield made
    finally:
        project.remove()


@pytest.mark.parametrize("feature", [*CHUNKS, pytest.param("tools", marks=pytest.mark.skipif(not HAS_TOOLS, reason="this version sets no parser for tools"))])
def test_openai_for_python(served: Served, feature: str) -> None:
    served.run(python_with("openai") / "python", CLIENTS / "use_openai.py", feature)


def test_an_answer_that_nobody_waits_for_ends_in_the_engine(served: Served) -> None:
    """Its own line about what runs, once each ten seconds: two times four answers of 400 tokens would take longer."""
    since = datetime.now(UTC).isoformat()
    served.run(python_with("openai") / "python", CLIENTS / "use_openai.py", "cancel")
    end = time.monotonic() + 40
    counts: list[str] = []
    while not counts or counts[-1] != "0":
        assert time.monotonic() < end, f"running: {counts}"
        time.sleep(0.5)
        counts = re.findall(r"Running: (\d+) reqs", served.project.run("docker", "logs", "--since", since, served.container("serve")))
    ended = [line["status"] for line in served.requests() if line["path"] == "/v1/chat/completions"][-2:]
    assert ended == [200, 200], "the head of a stream was a 200; what follows is cut short"


@pytest.mark.parametrize("feature", ["models", "chat", "streaming", "errors", "abort"])
def test_openai_for_node(served: Served, feature: str) -> None:
    served.run(node()[0], node_with_openai() / "use_openai.mjs", feature)


@pytest.mark.parametrize("feature", ["invoke", "stream", "batch", "structured"])
def test_langchain(served: Served, feature: str) -> None:
    served.run(python_with("langchain") / "python", CLIENTS / "use_langchain.py", feature)


@pytest.mark.parametrize("options", [(), ("--no-stream",)], ids=["streaming", "at once"])
def test_llm(served: Served, tmp_path: Path, options: tuple[str, ...]) -> None:
    model = f"- model_id: caisson\n  model_name: {MODEL}\n  api_base: {served.url}/v1\n  api_key_name: caisson\n"
    (tmp_path / "extra-openai-models.yaml").write_text(model)
    llm = python_with("llm") / "llm"
    served.run(llm, "keys", "set", "caisson", "--value", served.key, LLM_USER_PATH=str(tmp_path))
    assert served.run(llm, "-m", "caisson", "-o", "max_tokens", "8", "Say hello.", *options, LLM_USER_PATH=str(tmp_path)).strip()


def test_curl(served: Served) -> None:
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8, "stream": True})
    ask = ["curl", "--silent", "--show-error", "--no-buffer", "--fail-with-body", f"{served.url}/v1/chat/completions"]
    headers = ["--header", "Content-Type: application/json", "--header", f"Authorization: Bearer {served.key}"]
    lines = [line for line in served.run(*ask, *headers, "--data", body).splitlines() if line]
    assert lines[-1] == "data: [DONE]" and len(lines) > 4 and all(line.startswith("data: ") for line in lines)
    assert "invalid_api_key" in served.run(*ask, "--data", body, code=22)


def test_schemathesis(served: Served) -> None:
    """Every endpoint of docs/openapi.json, with what fits the document and what does not."""
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    options = [
        "--url",
        served.url,
        "--checks",
        checks,
        "--max-examples",
        "12",
        "--phases",
        "examples,fuzzing",
        "--seed",
        "17",
        "--no-color",
        "--generation-database",
        "none",
    ]
    header = ["--header", f"Authorization: Bearer {served.key}"]
    served.run(
        python_with("schemathesis") / "schemathesis", "run", ROOT / "docs/openapi.json", *options, *header, SCHEMATHESIS_HOOKS="hooks", PYTHONPATH=str(CLIENTS)
    )


# -- the engine's own port


def test_the_engines_port_is_not_published_and_answers_only_the_gateway(served: Served) -> None:
    (seen,) = json.loads(served.project.run("docker", "inspect", served.container("serve")))
    assert not seen["HostConfig"]["PortBindings"]
    (network,) = seen["NetworkSettings"]["Networks"].values()
    with httpx.Client(trust_env=False, timeout=20) as client:
        for path in ("/v1/models", "/health", "/metrics", "/invocations"):
            for headers in ({}, {"Authorization": f"Bearer {served.key}"}):
                assert client.get(f"http://{network['IPAddress']}:8001{path}", headers=headers).status_code == 401, path
        for port in (8000, 8002):
            with pytest.raises(httpx.ConnectError):
                client.get(f"http://{network['IPAddress']}:{port}/")


def test_serve_reaches_nothing_outside(served: Served) -> None:
    ask = "import socket; s = socket.socket(); s.settimeout(5); s.connect(('192.0.2.1', 80))"
    for service in ("serve", "gateway"):
        said = served.project.run("docker", "exec", served.container(service), "/opt/caisson/venv/bin/python", "-c", ask, code=1)
        assert "Network is unreachable" in said or "timed out" in said


# -- a server that dies and comes back


class Streams:
    """Eight clients that ask one answer after the other."""

    def __init__(self, served: Served):
        argv = [python_with("openai") / "python", CLIENTS / "streams.py", "8"]
        self.process = subprocess.Popen(argv, env=served.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.found: list[dict[str, Any]] = []
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.found.append(json.loads(line))

    def clients(self, outcome: str, since: float, until: float = float("inf")) -> set[int]:
        """Those with such an answer in this time."""
        return {one["client"] for one in self.found if one["outcome"] == outcome and since <= one["at"] < until}

    def wait_for_full(self, since: float, seconds: float) -> None:
        """That each client has had a whole answer, and at least so long."""
        end = time.time() + 300
        while time.time() < since + seconds or len(self.clients("full", since)) < 8:
            assert time.time() < end, self.found[-20:]
            time.sleep(0.5)

    def end(self) -> None:
        """The answers that run are waited for."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.close()
        self.reader.join(300)
        self.process.wait(10)
        self.process.stdout.close()


def test_streams_through_a_kill_and_a_restart(served: Served, request: pytest.FixtureRequest) -> None:
    """Every answer is whole or a clean error. Two minutes beside the restart with --whole, half of one without."""
    part = 60 if request.config.getoption("--whole") else 15
    start = time.time()
    streams = Streams(served)
    try:
        streams.wait_for_full(start, part)
        killed = time.time()
        served.project.run("docker", "kill", "--signal", "KILL", served.container("serve"))
        time.sleep(3)
        served.project.compose("up", "--detach", "--no-deps", "serve")
        served.wait_until_ready()
        back = time.time()
        streams.wait_for_full(back, part)
    finally:
        streams.end()
    assert [one for one in streams.found if one["outcome"] == "corrupt"] == []
    assert streams.clients("error", killed, back) == set(range(8))
    assert streams.clients("error", back + 5) == set()


# -- stop, Ctrl-C, and up again


def test_stop_answers_what_runs_and_ends_serve_before_the_gateway(served: Served) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Count up."}], "max_tokens": 100, "stream": True, "ignore_eos": True}
    headers = {"Authorization": f"Bearer {served.key}"}
    with httpx.Client(trust_env=False, timeout=120) as client, client.stream("POST", f"{served.url}/v1/chat/completions", json=body, headers=headers) as answer:
        lines = answer.iter_lines()
        next(lines)
        stop = subprocess.Popen(["docker", "compose", "stop"], cwd=ROOT, env=served.project.environment, stderr=subprocess.DEVNULL)
        assert [line for line in lines if line][-1] == "data: [DONE]"
    assert stop.wait(200) == 0
    states = {service: served.state(service) for service in ("serve", "gateway")}
    assert [(state["Running"], state["ExitCode"]) for state in states.values()] == [(False, 0)] * 2
    assert states["serve"]["FinishedAt"] <= states["gateway"]["FinishedAt"]


def test_ctrl_c_stops_serve_and_the_gateway_says_so(served: Served) -> None:
    """Compose stops what it is attached to. While serve still loads, too."""
    up = subprocess.Popen(
        ["docker", "compose", "up", "--no-color", "serve"],
        cwd=ROOT,
        env=served.project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    end = time.monotonic() + 120
    while served.status("/health") != 200 or not served.state("serve")["Running"]:
        assert time.monotonic() < end
        time.sleep(0.5)
    assert served.status("/health/ready") == 503
    time.sleep(3)
    up.send_signal(signal.SIGINT)
    said, _ = up.communicate(timeout=200)
    assert (served.state("serve")["Running"], served.state("serve")["ExitCode"]) == (False, 0), said
    assert served.status("/health") == 200 and served.status("/health/ready") == 503
