"""A gateway of the tests' own, as Compose runs it: real nginx in its image, this tree's code, and small servers in the place of engines."""

import contextlib
import hashlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from project import ROOT, free_port

IMAGE = f"{os.environ.get('REGISTRY', 'caisson')}/gateway:{os.environ.get('TAG', 'dev')}"
PYTHON = "/opt/caisson/venv/bin/python"
CONTROL = "control-key-of-the-tests"
KEYS = {name: f"{name}-{'k' * 32}" for name in ("alice", "bob")}
HARDENED = ["--init", "--user", "10001:10001", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true", "--tmpfs", "/tmp:mode=1777"]
SPEC = "spec: 1\nname: a\nmodel: {source: /models/m}\ndata: {train: [{source: /data/r.jsonl}]}\nmethod: {kind: sft}\n"


def docker(*arguments: str, code: int | None = 0) -> str:
    """Both streams of the docker command."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert code is None or done.returncode == code, f"docker {arguments}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


class Gateway:
    """One container, its folders, and the engines beside it; `place` is a folder of the tests'."""

    def __init__(self, place: Path, limits: str = "", bind: str = "127.0.0.1", plain_http: str = "no"):
        self.name = f"caisson-gateway-{os.getpid()}-{place.name}".lower()
        self.place, self.port, self.limits = place, free_port(), limits
        self.environment = {"BIND": bind, "PLAIN_HTTP": plain_http}
        self.engines: list[str] = []
        self.generation = 0
        for folder in ("told", "secrets"):
            (place / folder).mkdir()
            (place / folder).chmod(0o777)
        self.write_keys(f"sha256:{hashlib.sha256(KEYS['alice'].encode()).hexdigest()} alice\n{KEYS['bob']} bob\n")
        (place / "spec.yaml").write_text(SPEC + limits)
        (place / "told/control").write_text(CONTROL)

    def start(self) -> "Gateway":
        """The container, on a network of its own; answers as soon as nginx does."""
        docker("network", "create", self.name)
        mounts = {"told": "/run/caisson", "secrets": "/run/secrets/gateway:ro", "spec.yaml": "/spec.yaml:ro"}
        volumes = [word for name, target in mounts.items() for word in ("--volume", f"{self.place / name}:{target}")]
        environment = [word for name, value in {**self.environment, "PYTHONPATH": "/src"}.items() for word in ("--env", f"{name}={value}")]
        docker(
            *("run", "--detach", "--name", self.name, "--network", self.name, "--dns", "127.0.0.1", "--publish", f"127.0.0.1:{self.port}:8000"),
            *(*HARDENED, *volumes, "--volume", f"{ROOT}:/src:ro", *environment, IMAGE, "gateway"),
        )
        end = time.monotonic() + 30
        while "gateway: " not in self.log() and self.running():
            assert time.monotonic() < end, self.log()
            time.sleep(0.1)
        return self

    def engine(self, name: str) -> str:
        """A container with two small servers; HOST:PORT of the first, `NAME`. The second, `NAME-2`, is on port 8002."""
        container = f"{self.name}-{name}"
        script = ["--volume", f"{Path(__file__).with_name('upstream.py')}:/upstream.py:ro", "--entrypoint", PYTHON, IMAGE, "/upstream.py", name]
        docker("run", "--detach", "--name", container, "--network", self.name, "--network-alias", name, *HARDENED, *script)
        self.engines.append(container)
        end = time.monotonic() + 30
        while "listens" not in docker("logs", container):
            assert time.monotonic() < end
            time.sleep(0.1)
        return f"{name}:8001"

    def tell(self, state: str, upstream: str | None = None, retry_after: int = 30) -> None:
        """What serve writes; returns once the gateway has acknowledged it."""
        self.generation += 1
        said = {"generation": self.generation, "state": state, "upstream": upstream, "models": ["m"], "retry_after": retry_after}
        (self.place / "draft").write_text(json.dumps(said))
        (self.place / "draft").rename(self.place / "told/active.json")
        end = time.monotonic() + 20
        while self.acknowledged() != self.generation:
            assert time.monotonic() < end, self.log()
            time.sleep(0.02)

    def acknowledged(self) -> int:
        """The generation that the gateway says requests go to; 0 before any."""
        try:
            return int(json.loads((self.place / "told/gateway.json").read_text())["generation"])
        except FileNotFoundError:
            return 0

    def write_keys(self, text: str) -> None:
        """By rename, as setup/key.sh does."""
        (self.place / "secrets/.draft").write_text(text)
        (self.place / "secrets/.draft").chmod(0o444)
        (self.place / "secrets/.draft").rename(self.place / "secrets/keys")

    @contextlib.contextmanager
    def client(self, key: str | None = "alice", **more: Any) -> Iterator[httpx.Client]:
        """An HTTP client with one of the keys."""
        headers = {"Authorization": f"Bearer {KEYS[key]}"} if key else {}
        url = f"{'https' if 'verify' in more else 'http'}://127.0.0.1:{self.port}"
        with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=30, **more) as made:
            yield made

    def log(self) -> str:
        """Everything that the container said."""
        return docker("logs", self.name)

    def requests(self) -> list[dict[str, Any]]:
        """The access log."""
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def wait_for(self, words: str, seconds: float = 10) -> None:
        """Until the log has them."""
        end = time.monotonic() + seconds
        while words not in self.log():
            assert time.monotonic() < end, self.log()
            time.sleep(0.1)

    def running(self) -> bool:
        """Whether the container is."""
        return docker("inspect", "--format", "{{.State.Running}}", self.name).strip() == "true"

    def exit_code(self) -> int:
        """Once it has ended."""
        return int(docker("wait", self.name))

    def remove(self) -> None:
        """Containers and network."""
        for container in (*self.engines, self.name):
            docker("rm", "--force", "--volumes", container, code=None)
        docker("network", "rm", self.name, code=None)
