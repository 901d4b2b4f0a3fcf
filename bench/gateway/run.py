"""What the gateway costs: in front of an upstream that costs nothing, and in front of the real engine.

python bench/gateway/run.py [PROJECT]    PROJECT: a running `docker compose up serve` on this machine, for the second part. Writes result.json.

The places are asked in turn, round after round, by one client in a container beside them (load.py). Added latency is the difference of two places'
percentiles in the same round; what is written is the median over rounds.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from gateway import IMAGE, KEYS, PYTHON, Gateway, docker  # noqa: E402

Batches = list[dict[str, Any]]
CHAT = "/v1/chat/completions"
LIMITS = "gateway: {requests_per_minute: 1000000, burst: 1000000, requests_at_once: 65535}\n"


def load(network: str, places: list[dict[str, Any]], body: dict[str, Any], connections: int, requests: int, rounds: int) -> Batches:
    """What load.py wrote."""
    plan = {"places": places, "body": body, "connections": connections, "requests": requests, "rounds": rounds}
    mount = ["--volume", f"{HERE}/load.py:/load.py:ro"]
    said = docker("run", "--rm", "--network", network, *mount, "--entrypoint", PYTHON, IMAGE, "/load.py", json.dumps(plan))
    return list(json.loads(said))


def percentile(values: list[float], share: float) -> float:
    """Nearest rank."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def compare(batches: Batches, base: str, other: str) -> dict[str, float]:
    """Of `other` against `base`: throughput, and milliseconds added, medians over rounds."""
    rounds: dict[int, dict[str, dict[str, Any]]] = {}
    for one in batches:
        rounds.setdefault(one["round"], {})[one["place"]] = one
    added = {
        f"{kind}_added_{name}_ms": statistics.median(1000 * (percentile(r[other][kind], share) - percentile(r[base][kind], share)) for r in rounds.values())
        for kind in ("first", "whole")
        for name, share in (("p50", 0.5), ("p99", 0.99))
    }
    ratio = statistics.median(r[base]["seconds"] / r[other]["seconds"] for r in rounds.values())
    return {"throughput_ratio": round(ratio, 4), **{key: round(value, 3) for key, value in added.items()}}


def nginx_seconds(container: str) -> float:
    """CPU that nginx in a container has used."""
    stats = docker("exec", container, "sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null", code=None).splitlines()
    return sum(sum(map(int, line.rpartition(")")[2].split()[11:13])) for line in stats if "(nginx)" in line) / os.sysconf("SC_CLK_TCK")


def microseconds(network: str, places: list[dict[str, Any]], containers: tuple[str, ...]) -> dict[str, float]:
    """CPU of nginx a request, over all containers, by place."""
    found = {}
    for place in places:
        before = sum(map(nginx_seconds, containers))
        load(network, [place], {"model": "m", "messages": []}, 4, 6000, 1)
        found[place["name"]] = round((sum(map(nginx_seconds, containers)) - before) / 6008 * 1e6)
    return found


def trivial(place: Path) -> dict[str, Any]:
    """In front of nginx that answers by itself."""
    gateway = Gateway(place, LIMITS)
    name = f"{gateway.name}-trivial"
    try:
        gateway.start()
        mounts = ["--volume", f"{HERE}/trivial.conf:/trivial.conf:ro", "--volume", f"{HERE}/keys_process.py:/keys_process.py:ro", "--tmpfs", "/tmp"]
        start = f"{PYTHON} /keys_process.py /tmp/keys.sock {KEYS['alice']} & exec nginx -e stderr -c /trivial.conf"
        docker(
            "run",
            "--detach",
            "--init",
            "--name",
            name,
            "--network",
            gateway.name,
            "--network-alias",
            "trivial",
            *mounts,
            "--entrypoint",
            "sh",
            IMAGE,
            "-c",
            start,
        )
        gateway.engines.append(name)
        time.sleep(2)
        gateway.tell("ready", "trivial:8001")
        ports = {"bare": ("trivial", 8001), "gateway": (gateway.name, 8000), "nginx alone": ("trivial", 8010), "auth_request": ("trivial", 8011)}
        places = [{"name": label, "host": host, "port": port, "path": CHAT, "key": KEYS["alice"]} for label, (host, port) in ports.items()]
        body = {"model": "m", "messages": [{"role": "user", "content": "hello " * 50}]}
        found: dict[str, Any] = {"nginx CPU, microseconds a request": microseconds(gateway.name, places, (gateway.name, name))}
        for connections in (1, 32):
            batches = load(gateway.name, places, body, connections, 2000, 12)
            found[f"{connections} connections"] = {"raw": shorten(batches), **{other: compare(batches, "bare", other) for other in list(ports)[1:]}}
        return found
    finally:
        gateway.remove()


def real(project: str) -> dict[str, Any]:
    """In front of the engine of a running project."""
    told = json.loads(docker("exec", f"{project}-gateway-1", "cat", "/run/caisson/active.json"))
    control = docker("exec", f"{project}-gateway-1", "cat", "/run/caisson/control").strip()
    key = (ROOT / "secrets/api_key").read_text(encoding="utf-8").strip()
    host, _, port = told["upstream"].rpartition(":")
    places = [
        {"name": "bare", "host": host, "port": int(port), "path": CHAT, "key": control},
        {"name": "gateway", "host": "gateway", "port": 8000, "path": CHAT, "key": key},
    ]
    body = {"model": told["models"][0], "messages": [{"role": "user", "content": "Count up."}], "max_tokens": 16, "temperature": 0, "ignore_eos": True}
    found = {}
    for connections, requests, rounds in ((1, 10, 8), (8, 24, 6)):
        for stream in (False, True):
            batches = load(f"{project}_inside", places, {**body, "stream": stream}, connections, requests, rounds)
            label = f"{connections} connections, {'streams' if stream else 'at once'}"
            found[label] = {"raw": shorten(batches), "gateway": compare(batches, "bare", "gateway")}
    return found


def shorten(batches: Batches) -> Batches:
    """Raw seconds, to the microsecond; of thousands of requests their percentiles."""

    def values(seconds: list[float]) -> list[float]:
        return [round(percentile(seconds, p / 100), 6) for p in range(0, 101, 1)] if len(seconds) > 200 else [round(s, 6) for s in seconds]

    return [{**one, "seconds": round(one["seconds"], 4), "first": values(one["first"]), "whole": values(one["whole"])} for one in batches]


def main() -> None:
    """Measure and write."""
    import tempfile

    result: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
        "nginx": subprocess.run(["docker", "run", "--rm", "--entrypoint", "nginx", IMAGE, "-v"], capture_output=True, text=True, check=True).stderr.strip(),
        "load_average": os.getloadavg()[0],
    }
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "bench").mkdir()
        result["trivial upstream"] = trivial(Path(name) / "bench")
    if len(sys.argv) > 1:
        result["load_average_before_engine"] = os.getloadavg()[0]
        result["vLLM on CPU"] = real(sys.argv[1])
    (HERE / "result.json").write_text(json.dumps(result) + "\n", encoding="utf-8")
    for part in ("trivial upstream", "vLLM on CPU"):
        for label, found in result.get(part, {}).items():
            print(part, label, json.dumps({key: value for key, value in found.items() if key != "raw"}, indent=1))


if __name__ == "__main__":
    main()
